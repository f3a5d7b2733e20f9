//! The messages as an encoder of its own has them, for tests.

/// `prometheus.WriteRequest`.
pub(crate) mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) metadata: Vec<Metadata>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) exemplars: Vec<Empty>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) histograms: Vec<Empty>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Label {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) value: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
        /// `start_timestamp` of 2.0, which is nothing to us.
        #[prost(int64, tag = "3")]
        pub(crate) start: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(string, tag = "2")]
        pub(crate) family: String,
        #[prost(string, tag = "4")]
        pub(crate) help: String,
        #[prost(string, tag = "5")]
        pub(crate) unit: String,
    }
    /// Something whose content does not matter.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Empty {
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
    }
}

/// `io.prometheus.write.v2.Request`.
pub(crate) mod v2 {
    use super::v1::{Empty, Sample};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(crate) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(crate) timeseries: Vec<TimeSeries>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) histograms: Vec<Empty>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) exemplars: Vec<Empty>,
        #[prost(message, optional, tag = "5")]
        pub(crate) metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        pub(crate) created: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(uint32, tag = "3")]
        pub(crate) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(crate) unit_ref: u32,
    }
    /// The same with references that are not packed.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Unpacked {
        #[prost(uint32, repeated, packed = "false", tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
    }
}

/// OTLP metrics.
pub(crate) mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Export {
        #[prost(message, repeated, tag = "1")]
        pub(crate) resource_metrics: Vec<ResourceMetrics>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ResourceMetrics {
        #[prost(message, optional, tag = "1")]
        pub(crate) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) scope_metrics: Vec<ScopeMetrics>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(crate) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ScopeMetrics {
        #[prost(message, repeated, tag = "2")]
        pub(crate) metrics: Vec<Metric>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Metric {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) description: String,
        #[prost(string, tag = "3")]
        pub(crate) unit: String,
        #[prost(oneof = "Data", tags = "5, 7, 9, 10, 11")]
        pub(crate) data: Option<Data>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Data {
        #[prost(message, tag = "5")]
        Gauge(Numbers),
        #[prost(message, tag = "7")]
        Sum(Numbers),
        #[prost(message, tag = "9")]
        Histogram(Histogram),
        #[prost(message, tag = "10")]
        Exponential(Histogram),
        #[prost(message, tag = "11")]
        Summary(Summary),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Numbers {
        #[prost(message, repeated, tag = "1")]
        pub(crate) data_points: Vec<NumberPoint>,
        #[prost(int32, tag = "2")]
        pub(crate) temporality: i32,
        #[prost(bool, tag = "3")]
        pub(crate) monotonic: bool,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct NumberPoint {
        #[prost(fixed64, tag = "3")]
        pub(crate) time: u64,
        #[prost(double, optional, tag = "4")]
        pub(crate) double: Option<f64>,
        #[prost(sfixed64, optional, tag = "6")]
        pub(crate) int: Option<i64>,
        #[prost(message, repeated, tag = "7")]
        pub(crate) attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "8")]
        pub(crate) flags: u32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Histogram {
        #[prost(message, repeated, tag = "1")]
        pub(crate) data_points: Vec<HistogramPoint>,
        #[prost(int32, tag = "2")]
        pub(crate) temporality: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct HistogramPoint {
        #[prost(fixed64, tag = "3")]
        pub(crate) time: u64,
        #[prost(fixed64, tag = "4")]
        pub(crate) count: u64,
        #[prost(double, optional, tag = "5")]
        pub(crate) sum: Option<f64>,
        #[prost(fixed64, repeated, tag = "6")]
        pub(crate) bucket_counts: Vec<u64>,
        #[prost(double, repeated, tag = "7")]
        pub(crate) bounds: Vec<f64>,
        #[prost(message, repeated, tag = "9")]
        pub(crate) attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "10")]
        pub(crate) flags: u32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub(crate) data_points: Vec<SummaryPoint>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct SummaryPoint {
        #[prost(fixed64, tag = "3")]
        pub(crate) time: u64,
        #[prost(fixed64, tag = "4")]
        pub(crate) count: u64,
        #[prost(double, tag = "5")]
        pub(crate) sum: f64,
        #[prost(message, repeated, tag = "6")]
        pub(crate) quantiles: Vec<Quantile>,
        #[prost(message, repeated, tag = "7")]
        pub(crate) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Quantile {
        #[prost(double, tag = "1")]
        pub(crate) quantile: f64,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(crate) key: String,
        #[prost(message, optional, tag = "2")]
        pub(crate) value: Option<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct AnyValue {
        #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
        pub(crate) value: Option<Value>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        Array(Array),
        #[prost(message, tag = "6")]
        Map(Map),
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Array {
        #[prost(message, repeated, tag = "1")]
        pub(crate) values: Vec<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Map {
        #[prost(message, repeated, tag = "1")]
        pub(crate) values: Vec<KeyValue>,
    }
}
