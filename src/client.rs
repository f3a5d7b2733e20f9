//! `weir query` and `weir sql`: asking a server over HTTP and printing tables.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::auth::{Role, Tokens};
use crate::cli::{ClientOptions, Query, Sql};
use crate::table::Table;

/// `weir query`.
///
/// # Errors
/// When the server is not reached or refuses the expression.
pub(crate) fn query(query: &Query) -> anyhow::Result<()> {
    let client = Client::new(&query.client)?;
    let now = match &query.at {
        Some(text) => moment(text)?,
        None => Timestamp::now().as_duration().as_secs_f64(),
    };
    let mut form = vec![("query", query.expression.clone())];
    let path = match query.range {
        None => {
            form.push(("time", now.to_string()));
            "/api/v1/query"
        }
        Some(range) => {
            let step = query.step.as_secs_f64();
            // Whole multiples of the step, as Grafana asks: the same points on every repetition.
            let end = (now / step).floor() * step;
            form.push(("start", (end - range.as_secs_f64()).to_string()));
            form.push(("end", end.to_string()));
            form.push(("step", step.to_string()));
            "/api/v1/query_range"
        }
    };
    let mut response = client.post(path, &form)?;
    let answer: Value = serde_json::from_reader(response.body_mut().as_reader())
        .context("server's answer is not JSON")?;
    for kind in ["warnings", "infos"] {
        for text in answer[kind].as_array().into_iter().flatten() {
            eprintln!("{}: {}", kind.trim_end_matches('s'), text.as_str().unwrap_or_default());
        }
    }
    print!("{}", Table::of_promql(&answer["data"]));
    Ok(())
}

/// `weir sql`.
///
/// # Errors
/// When the server is not reached or refuses the statement.
pub(crate) fn sql(sql: &Sql) -> anyhow::Result<()> {
    let client = Client::new(&sql.client)?;
    let format = sql.format.as_deref().unwrap_or("json");
    let form = [("query", sql.statement.clone()), ("format", format.to_owned())];
    let mut response = client.post("/api/v1/sql", &form)?;
    let mut body = response.body_mut().as_reader();
    if sql.format.is_some() {
        std::io::copy(&mut body, &mut std::io::stdout().lock())?;
    } else {
        let answer = serde_json::from_reader(body).context("server's answer is not JSON")?;
        print!("{}", Table::of_sql(&answer));
    }
    Ok(())
}

struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    fn new(options: &ClientOptions) -> anyhow::Result<Self> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(600)))
            .build()
            .into();
        let token = options.token_file.as_deref().map(reader_token).transpose()?;
        Ok(Self { agent, url: options.url.trim_end_matches('/').to_owned(), token })
    }

    fn post(&self, path: &str, form: &[(&str, String)]) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        let fields = form.iter().map(|(name, value)| (*name, value.as_str()));
        let mut response = request.send_form(fields).with_context(|| {
            format!(
                "no server answers at {}; start one with `weir up` or name it by --url",
                self.url
            )
        })?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.body_mut().read_to_string().unwrap_or_default();
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            bail!(
                "{}",
                answer["error"].as_str().map_or(format!("{status}: {text}"), str::to_owned)
            );
        }
        Ok(response)
    }
}

fn reader_token(path: &Path) -> anyhow::Result<String> {
    if let Ok(tokens) = Tokens::open(path)
        && let Some(token) = tokens.first(Role::Reader)
    {
        return Ok(token);
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("token file {} cannot be read", path.display()))?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token.to_owned()),
        _ => bail!("{} has neither a line `reader TOKEN` nor just a token", path.display()),
    }
}

/// Seconds since the Unix epoch of an RFC 3339 time or a number.
fn moment(text: &str) -> anyhow::Result<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(seconds);
    }
    let time: Timestamp = text
        .parse()
        .with_context(|| format!("`{text}` is neither RFC 3339 nor seconds since 1970"))?;
    Ok(time.as_duration().as_secs_f64())
}
