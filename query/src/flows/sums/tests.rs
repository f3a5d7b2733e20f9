//! What the plan of a window sum reads.

use std::sync::Arc;

use datafusion::physical_plan::displayable;

use weir_wire::schema::flow_column;

use super::*;
use crate::database::{Resources, Runtime};
use crate::flows::metrics::metric_named;
use crate::promql::source::{MatchOp, Matcher};
use crate::testing::{Row, flow_batch, snapshot};

#[tokio::test]
async fn a_sum_by_one_label_reads_only_its_columns() {
    let row = |end| Row { end, numbers: vec![("tx_bytes", 1)], ..Row::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let batch = flow_batch(&[row(1_000_000), row(2_000_000), row(3_000_000)]);
    let session = Runtime::new(&Resources::default())
        .session(vec![snapshot(dir.path(), &batch, 1, 1)])
        .expect("a session");
    let metric = metric_named("flow_tx_bytes_total").expect("a metric");
    let selector = Selector {
        metric: Some(Arc::from(metric.name)),
        name_matchers: vec![],
        matchers: vec![Matcher {
            name: Arc::from("peer_workload"),
            op: MatchOp::Equal(Arc::from("api")),
        }],
    };
    let Rows::Where(filters) = rows(&selector, None) else { panic!("rows can match") };
    let labels = surviving_columns(&Grouping::By(vec![Arc::from("workload")]));
    let window = Window { range: 300_000, offset: 0, at: None };
    let windows =
        cut(&window, &Steps { start: 0, end: 600_000, step: 70_000 }).expect("small numbers");
    let aggregate = aggregate("flows", metric, &labels, filters, &windows).expect("an aggregate");
    let plan = aggregate.plan(&session).await.expect("a plan");
    let plan = plan.create_physical_plan().await.expect("a physical plan");
    let text = displayable(plan.as_ref()).indent(false).to_string();
    let scan = text.lines().find(|l| l.contains("file_type=parquet")).expect("a Parquet scan");
    let columns = scan
        .split_once("projection=[")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(columns, _)| columns)
        .expect("a projection");
    // Expressions may stand there too; the filters' columns are read by the Parquet reader itself.
    let words = columns.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let read: Vec<&str> = words.filter(|w| flow_column(w).is_some()).collect();
    assert!(read.contains(&"tx_bytes"), "{text}");
    for column in read {
        let needed = ["end", "workload", "peer_workload", "tx_bytes"];
        assert!(needed.contains(&column), "{column} is read: {text}");
    }
    assert!(scan.contains("predicate=") && scan.contains("peer_workload"), "{text}");
    assert_eq!(text.matches("mode=Partial").count(), 1, "one aggregate: {text}");
}
