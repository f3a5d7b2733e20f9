use arrow::array::{Int64Array, ListArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::*;
use crate::database::{Resources, Runtime};
use crate::testing::{Row, flow_batch, snapshot};

async fn answer(sql: &str) -> Result<String, crate::Error> {
    let dir = tempfile::tempdir().expect("a directory");
    let labels = vec![("workload", "web"), ("pod", "web-1")];
    let rows: Vec<Row> =
        (1..=3).map(|end| Row { end, labels: labels.clone(), ..Row::default() }).collect();
    let part = snapshot(dir.path(), &flow_batch(&rows), 1, 1);
    let session = Runtime::new(&Resources::default()).session(vec![part])?;
    let batches: Vec<RecordBatch> =
        crate::sql::run(&session, sql).await?.try_collect().await.map_err(crate::Error::from)?;
    let text = arrow::util::pretty::pretty_format_batches(&batches).expect("text");
    Ok(text.to_string())
}

/// Each would make 2 to the power of 25 and more of what it begins with.
#[tokio::test]
async fn what_doubles_ends_at_the_bound() {
    let nested = |double: &str, first: &str| {
        let each = (0..25).map(|i| format!(", t{} AS (SELECT {double} AS s FROM t{i})", i + 1));
        let each: String = each.collect();
        // What nobody reads is not computed.
        format!(
            "WITH t0 AS (SELECT {first} AS s FROM flows){each} SELECT count(DISTINCT s) FROM t25"
        )
    };
    for (double, first) in [
        ("concat(s, s)", "workload"),
        ("concat(s, s)", "'web'"),
        ("concat_ws(s, s, s)", "workload"),
        ("s || s", "workload"),
        ("s || s", "'web'"),
        ("array_concat(s, s)", "[workload]"),
        ("s || s", "[1]"),
        ("[s, s]", "workload"),
        ("overlay(s placing s from 1 for 0)", "workload"),
    ] {
        let error = answer(&nested(double, first)).await.expect_err(double).to_string();
        assert!(error.contains("more than"), "{double}: {error}");
    }
    for composite in ["struct(1, 1)", "named_struct('a', 1)", "{'a': 1}", "map(['a'], [1])"] {
        answer(&format!("SELECT {composite}")).await.expect_err(composite);
    }
    let recursive = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 9) \
                     SELECT * FROM t";
    let error = answer(recursive).await.expect_err("no recursion").to_string();
    assert!(error.to_lowercase().contains("recursive"), "{error}");
    for collecting in ["array_agg(workload)", "string_agg(workload, ',')"] {
        let sql = format!("SELECT {collecting} OVER (ORDER BY \"end\") FROM flows");
        let error = answer(&sql).await.expect_err(collecting).to_string();
        assert!(error.contains("use it with GROUP BY"), "{error}");
    }
    let long = format!("SELECT concat('{0}', workload, '{0}') FROM flows", "x".repeat(31_000));
    assert!(answer(&long).await.is_ok(), "three rows of it");
    let constant = format!("SELECT concat('{0}', '{0}') FROM flows", "x".repeat(3000));
    let error = answer(&constant).await.expect_err("a batch of constants").to_string();
    assert!(error.contains("for one batch of rows"), "{error}");
}

/// A call cannot be ended: 64 KiB by 64 KiB in each row would be hours.
#[tokio::test]
async fn what_takes_the_product_of_sizes_is_bounded() {
    let text = "x".repeat(5000);
    let sql = format!("SELECT max(levenshtein(workload, '{text}')) FROM flows");
    let error = answer(&sql).await.expect_err("too long").to_string();
    assert!(error.contains("levenshtein is given values of"), "{error}");
    let sql =
        "SELECT array_has_all(array_agg(value), array_agg(value)) FROM generate_series(1, 5000)";
    let error = answer(sql).await.expect_err("too long").to_string();
    assert!(error.contains("array_has_all is given"), "{error}");
}

#[tokio::test]
async fn what_stays_small_works_as_ever() {
    for (expression, value, name) in [
        ("levenshtein(workload, pod)", "2", "levenshtein(flows.workload,flows.pod)"),
        ("array_has_all([workload, pod], [pod])", "true", "array_has_all"),
        ("concat(workload, '/', pod)", "web/web-1", "concat(flows.workload,Utf8(\"/\"),flows.pod)"),
        ("workload || '/' || pod", "web/web-1", "flows.workload || Utf8(\"/\") || flows.pod"),
        ("upper(workload) || NULL", "|  ", "||"),
        ("coalesce(node, workload)", "| x ", "coalesce"),
        ("[workload, pod][2]", "web-1", "["),
        ("array_to_string([1], ',')", "", ""),
        ("substr(workload, 2)", "eb", "substr(flows.workload,Int64(2))"),
        ("array_length([workload, pod] || [pod])", "3", "array_length"),
        ("to_char(\"end\", '%Y')", "1970", "to_char"),
    ] {
        let sql = format!("SELECT {expression} FROM flows");
        let answer = match answer(&sql).await {
            Ok(answer) => answer,
            // Taken out for good.
            Err(error) if value.is_empty() => {
                assert!(error.to_string().contains("array_to_string"), "{error}");
                continue;
            }
            Err(error) => panic!("{expression}: {error}"),
        };
        assert!(answer.contains(value) && answer.contains(name), "{expression}:\n{answer}");
    }
    let grouped = "SELECT array_sort(array_agg(DISTINCT workload)) AS all, string_agg(pod, '+') AS p, \
                   concat(workload, '!') AS w FROM flows GROUP BY concat(workload, '!')";
    let answer = answer(grouped).await.expect("an answer");
    for part in ["[web]", "web-1+web-1+web-1", "web!"] {
        assert!(answer.contains(part), "{part}:\n{answer}");
    }
}

#[test]
fn sizes_are_those_of_the_values() {
    let of = |array: &dyn Array| (Size::of(array).widest, Size::of(array).total);
    let texts = vec![Some("four"), None, Some("a text of twenty two b")];
    assert_eq!(of(&StringArray::from(texts.clone())), (22, 26));
    assert_eq!(of(&StringViewArray::from(texts.clone()).slice(0, 2)), (4, 4));
    assert_eq!(of(&StringArray::from(texts).slice(1, 2)), (22, 22));
    assert_eq!(of(&Int64Array::from(vec![1, 2, 3])), (8, 24));
    let lists = [Some(vec![Some(1); 5]), None, Some(vec![Some(1); 2])];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    assert_eq!(of(&lists), (40, 56));
    assert_eq!(of(&lists.slice(2, 1)), (16, 16));
    let texts = ["longer than the rest", "a", "b", "a"].into_iter();
    let dictionary: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> = texts.collect();
    assert_eq!(of(&dictionary.slice(1, 3)), (20, 60), "at most");
}
