//! SQL over one snapshot, read only.

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;

use crate::error::{Error, ErrorKind};

pub(crate) mod bounded;
pub(crate) mod encode;
pub(crate) mod ending;
mod json;
mod measure;

/// Plans and starts a query.
///
/// # Errors
/// [`ErrorKind::BadData`] for what is not SQL, is too long or too deep, names what is not there, or
/// would change anything.
pub(crate) async fn run(
    session: &SessionContext,
    text: &str,
) -> Result<SendableRecordBatchStream, Error> {
    measure::measure(text)?;
    let plan = session.state().create_logical_plan(text).await.map_err(as_bad_data)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|e| {
            Error::bad(format!(
                "only queries are answered here (SELECT, WITH, VALUES, EXPLAIN, SHOW, DESCRIBE), \
                 the history cannot be changed by SQL: {}",
                e.strip_backtrace()
            ))
        })?;
    let frame = session.execute_logical_plan(plan).await?;
    Ok(frame.execute_stream().await?)
}

/// Whatever keeps a text from becoming a plan is wrong with the text.
fn as_bad_data(error: datafusion::error::DataFusionError) -> Error {
    let message = error.strip_backtrace();
    match Error::from(error) {
        e if e.kind() == ErrorKind::Internal => Error::bad(message),
        e => e,
    }
}
