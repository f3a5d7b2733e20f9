//! A side behind the Prometheus HTTP API: a Prometheus, or a served Weir.

use std::time::Duration;

use serde_json::Value;

use crate::Side;
use crate::data::Series;
use crate::grammar::Question;
use crate::outcome::Outcome;
use crate::support::write;

pub(crate) struct Http {
    url: String,
    agent: ureq::Agent,
}

impl Http {
    pub(crate) fn new(url: String) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { url, agent }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.agent.get(format!("{}/-/ready", self.url)).call().is_ok_and(|r| r.status() == 200)
    }

    /// Writes series by remote write.
    pub(crate) fn load(&self, series: &[Series]) {
        for chunk in series.chunks(50) {
            let mut response = self
                .agent
                .post(format!("{}/api/v1/write", self.url))
                .header("content-encoding", "snappy")
                .header("content-type", "application/x-protobuf")
                .header("x-prometheus-remote-write-version", "0.1.0")
                .send(&write::request(chunk)[..])
                .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            assert!(response.status().is_success(), "{text}");
        }
    }
}

impl Side for Http {
    fn ask(&self, question: &Question) -> Outcome {
        let (path, fields) = question.form();
        let mut response =
            self.agent.post(format!("{}{path}", self.url)).send_form(fields).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Outcome::of_json(&value)
    }
}
