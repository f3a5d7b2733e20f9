//! The table `edges` of SQL: both ends of each conversation in one row a minute, every byte counted once.
//!
//! ```text
//! rows of `flows` with role client      address A, peer_address B, peer_port P   \  one row: A -> B:P,
//! rows of `flows` with role server      address B, port P, peer_address A        /  minute and protocol
//! ```
//!
//! Both ends see the same addresses, also where the client dialled a service: rows have the backend that it became. Where
//! the server's host sees another address (traffic that was masqueraded on the way), the two ends are two rows, each
//! seen by one side. What the two sides say differs by what was lost between them: packets that one sent and the other
//! never got.
//!
//! It is a plan over `flows` that is made when it is scanned, so that a condition on `time` reaches the files: rows are
//! grouped by the minute in which they end, and only those of the minutes that are asked for are read.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::expressions::{cast, col};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::prelude::ident;

/// Its name.
pub(crate) const EDGES: &str = "edges";
const MINUTE: i64 = 60_000_000;
const TIME: &str = "time";

/// What a column of `edges` is made of.
enum From {
    /// Part of what makes an edge: of rows of the client, and of the server.
    Key(&'static str, &'static str),
    /// A label: of rows of the client, else of the server. Who has it itself knows best.
    Label(&'static str, &'static str),
    /// The same, but the server's rows come first.
    ServerLabel(&'static str, &'static str),
    /// A sum over the client's rows.
    Client(&'static str),
    /// A sum over the server's rows.
    Server(&'static str),
    /// An expression over the columns before.
    Made(&'static str, DataType),
}

use From::{Client, Key, Label, Made, Server, ServerLabel};

/// The columns after `time`, in order.
static COLUMNS: LazyLock<Vec<(&'static str, From)>> = LazyLock::new(|| {
    vec![
        ("protocol", Key("protocol", "protocol")),
        ("client_address", Key("address", "peer_address")),
        ("server_address", Key("peer_address", "address")),
        ("server_port", Key("peer_port", "port")),
        ("cluster", Label("cluster", "cluster")),
        ("client_namespace", Label("namespace", "peer_namespace")),
        ("client_workload", Label("workload", "peer_workload")),
        ("client_workload_kind", Label("workload_kind", "peer_workload_kind")),
        ("client_pod", Label("pod", "peer_pod")),
        ("client_node", Label("node", "peer_node")),
        ("client_zone", Label("zone", "peer_zone")),
        ("server_namespace", ServerLabel("peer_namespace", "namespace")),
        ("server_workload", ServerLabel("peer_workload", "workload")),
        ("server_workload_kind", ServerLabel("peer_workload_kind", "workload_kind")),
        ("server_pod", ServerLabel("peer_pod", "pod")),
        ("server_node", ServerLabel("peer_node", "node")),
        ("server_zone", ServerLabel("peer_zone", "zone")),
        ("service", Label("peer_service", "''")),
        ("scope", Label("peer_scope", "peer_scope")),
        ("cloud_service", Label("peer_cloud_service", "''")),
        ("region", Label("peer_region", "''")),
        ("domain", Label("peer_domain", "''")),
        ("crossing", Label("crossing", "crossing")),
        ("client_tx_bytes", Client("tx_bytes")),
        ("client_rx_bytes", Client("rx_bytes")),
        ("client_tx_packets", Client("tx_packets")),
        ("client_rx_packets", Client("rx_packets")),
        ("client_retransmits", Client("retransmits")),
        ("client_timeouts", Client("timeouts")),
        ("client_rtt_count", Client("rtt_count")),
        ("client_rtt_sum_us", Client("rtt_sum_us")),
        ("connects", Client("connects")),
        ("connect_failures", Client("connect_failures")),
        ("server_tx_bytes", Server("tx_bytes")),
        ("server_rx_bytes", Server("rx_bytes")),
        ("server_tx_packets", Server("tx_packets")),
        ("server_rx_packets", Server("rx_packets")),
        ("server_retransmits", Server("retransmits")),
        ("server_timeouts", Server("timeouts")),
        ("server_rtt_count", Server("rtt_count")),
        ("server_rtt_sum_us", Server("rtt_sum_us")),
        ("accepts", Server("accepts")),
        (
            "seen_by",
            Made(
                "CASE WHEN client_tx_bytes IS NULL THEN 'server' WHEN server_tx_bytes IS NULL THEN 'client' \
                 ELSE 'both' END",
                DataType::Utf8,
            ),
        ),
        ("bytes_to_server", Made("coalesce(client_tx_bytes, server_rx_bytes)", DataType::Int64)),
        ("bytes_to_client", Made("coalesce(client_rx_bytes, server_tx_bytes)", DataType::Int64)),
        ("lost_to_server", Made("client_tx_packets - server_rx_packets", DataType::Int64)),
        ("lost_to_client", Made("server_tx_packets - client_rx_packets", DataType::Int64)),
    ]
});

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![Field::new(TIME, time_type(), true)];
    fields.extend(COLUMNS.iter().map(|(name, from)| {
        let data_type = match from {
            Key(..) if *name == "server_port" => DataType::Int32,
            Key(..) | Label(..) | ServerLabel(..) => DataType::Utf8,
            Client(_) | Server(_) => DataType::Int64,
            Made(_, data_type) => data_type.clone(),
        };
        Field::new(*name, data_type, true)
    }));
    Arc::new(Schema::new(fields))
});

/// The statement that makes it, of rows that end after `$after` and until `$until`.
fn statement() -> String {
    let mut inner = Vec::new();
    let mut groups = Vec::new();
    let mut outer = vec![TIME.to_owned()];
    for (name, from) in COLUMNS.iter() {
        let text = |column: &str| {
            if column == "''" {
                column.to_owned()
            } else {
                format!("nullif(CAST({column} AS VARCHAR), '')")
            }
        };
        let of = |role: &str, column: &str| {
            format!("max(CASE WHEN role = '{role}' THEN {} END)", text(column))
        };
        match from {
            Key(client, server) => {
                let data_type = if *name == "server_port" { "INT" } else { "VARCHAR" };
                let key = format!(
                    "CAST(CASE WHEN role = 'client' THEN {client} ELSE {server} END AS {data_type})"
                );
                inner.push(format!("{key} AS {name}"));
                groups.push(key);
                outer.push((*name).to_owned());
            }
            Label(client, server) => {
                let (client, server) = (of("client", client), of("server", server));
                inner.push(format!("coalesce({client}, {server}) AS {name}"));
                outer.push(format!("nullif({name}, '') AS {name}"));
            }
            ServerLabel(client, server) => {
                let (client, server) = (of("client", client), of("server", server));
                inner.push(format!("coalesce({server}, {client}) AS {name}"));
                outer.push((*name).to_owned());
            }
            Client(column) => {
                inner.push(format!("sum(CASE WHEN role = 'client' THEN {column} END) AS {name}"));
                outer.push((*name).to_owned());
            }
            Server(column) => {
                inner.push(format!("sum(CASE WHEN role = 'server' THEN {column} END) AS {name}"));
                outer.push((*name).to_owned());
            }
            Made(made, data_type) => {
                let data_type = if *data_type == DataType::Utf8 { "VARCHAR" } else { "BIGINT" };
                outer.push(format!("CAST({made} AS {data_type}) AS {name}"));
            }
        }
    }
    // A row that ends on the minute is of the minute before.
    let minute = "date_bin(INTERVAL '1 minute', \"end\" - INTERVAL '1 microsecond')";
    format!(
        "SELECT {} FROM (SELECT {minute} AS {TIME}, {} FROM flows WHERE role IN ('client', 'server') \
         AND \"end\" > $after AND \"end\" <= $until \
         GROUP BY {minute}, {})",
        outer.join(", "),
        inner.join(", "),
        groups.join(", "),
    )
}

static STATEMENT: LazyLock<String> = LazyLock::new(statement);

/// The minutes that conditions on `time` leave, as bounds of `end`: after, until.
fn bounds(filters: &[Expr]) -> (i64, i64) {
    let (mut after, mut until) = (0, 253_402_300_799_000_000);
    for filter in filters {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { continue };
        let (op, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), value) if column.name == TIME => (Some(*op), value),
            (value, Expr::Column(column)) if column.name == TIME => (op.swap(), value),
            _ => continue,
        };
        let Expr::Literal(value, _) = value else { continue };
        let Ok(ScalarValue::TimestampMicrosecond(Some(at), _)) = value.cast_to(&time_type()) else {
            continue;
        };
        // A row of a minute ends after its begin, and not after its end.
        match op {
            Some(Operator::Gt | Operator::GtEq) => after = after.max(at),
            Some(Operator::Lt | Operator::LtEq) => until = until.min(at.saturating_add(MINUTE)),
            Some(Operator::Eq) => {
                after = after.max(at);
                until = until.min(at.saturating_add(MINUTE));
            }
            _ => {}
        }
    }
    (after, until)
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Edges;

#[async_trait]
impl TableProvider for Edges {
    fn schema(&self) -> SchemaRef {
        SCHEMA.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // They are looked at for their bounds of time; the plan above applies them.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return plan_err!("table {EDGES} can be read by this server's own sessions alone");
        };
        let (after, until) = bounds(filters);
        let at = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
        let bounds = vec![("after", at(after)), ("until", at(until))];
        let mut plan = state.create_logical_plan(&STATEMENT).await?.with_param_values(bounds)?;
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..SCHEMA.fields().len()).collect(),
        };
        let wanted: Vec<&FieldRef> =
            wanted.iter().filter_map(|at| SCHEMA.fields().get(*at)).collect();
        // Before it is optimised, so that what nobody asks for is not added up. Of a count of rows, no column is
        // asked for.
        let asked = match wanted.as_slice() {
            [] => vec![ident(TIME)],
            wanted => wanted.iter().map(|field| ident(field.name().as_str())).collect(),
        };
        plan = LogicalPlanBuilder::from(plan).project(asked)?.build()?;
        let physical = state.create_physical_plan(&plan).await?;
        // Whatever the planner made of the types, it is what the schema says.
        let schema = physical.schema();
        let mut columns = Vec::with_capacity(wanted.len());
        for field in wanted {
            let column = cast(col(field.name(), &schema)?, &schema, field.data_type().clone())?;
            columns.push((column, field.name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, physical)?))
    }
}

#[cfg(test)]
mod tests;
