//! `weir up`: server and agent of one host in one process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use weir_agent::metrics::Listen;
use weir_agent::run;

use crate::cli::Up;
use crate::config::Settings;
use crate::serve::Server;

/// Where the history goes if nobody says.
const DEFAULT_DATA: &str = "./weir-data";

/// Runs both until a signal, then drains both: the agent's last batch first.
///
/// # Errors
/// When either cannot start, or the history cannot be written out.
pub(crate) async fn up(options: &Up) -> anyhow::Result<()> {
    let settings = Settings::new(&options.server)?;
    let default = PathBuf::from(DEFAULT_DATA);
    let data = settings.folder(options.data.as_ref()).unwrap_or(default);
    let mut server = Server::start(&data, &settings).await?;
    let url = format!("http://{}", server.address());
    let mut config = run::Config::new(&url, data.join("agent"));
    config.interval = options.interval;
    config.token_file = settings.token_file.clone();
    config.samples = true;
    config.listen =
        options.agent_listen.map(|address| Listen { address, token_file: None, insecure: false });
    let agent = match run::spawn(config) {
        Ok(agent) => agent,
        Err(error) => {
            server.stop().await?;
            return Err(error).context("agent did not start");
        }
    };
    greet(&url, &data, options);
    let ended = tokio::select! {
        ended = server.until_signal() => ended,
        () = agent_ends(&agent) => Err(anyhow::anyhow!("the agent stopped measuring or delivering; its log says why")),
    };
    eprintln!("\nweir is writing its history out");
    // Waits for the last batch to be acknowledged, so not on a thread that serves it.
    tokio::task::spawn_blocking(move || agent.stop()).await?;
    server.stop().await?;
    ended
}

/// Waits until the agent measures or delivers no more, neither of which ends by itself.
async fn agent_ends(agent: &run::Handle) {
    while agent.is_running() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Says what runs and what to ask next.
fn greet(url: &str, data: &Path, options: &Up) {
    eprintln!(
        "weir measures this host every {:?} and keeps its history in {}\n\
         \n  PromQL and SQL:  {url}   (Grafana: a Prometheus data source with this URL)\n\
         \n  weir query 'topk(10, sum by (workload, peer_workload, peer_address) (rate(flow_tx_bytes_total[1m])))'\n\
         \x20 weir query 'histogram_quantile(0.95, sum by (le, workload) (rate(flow_rtt_seconds_bucket[1m])))'\n\
         \x20 weir sql   'SELECT workload, peer_address, sum(retransmits) FROM flows GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10'\n\
         \nCtrl-C stops; the history stays.",
        options.interval,
        data.display(),
    );
}
