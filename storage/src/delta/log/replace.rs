//! One file in the place of others.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::DeltaOperation;

use super::{LogError, TableLog, add_action};
use crate::delta::schema::{DATE, PART};
use crate::files::NewFile;
use crate::snapshot::DataFile;

impl TableLog {
    /// Commits one file in the place of others, or nothing. The others stay on disk.
    ///
    /// The new file is as old as the youngest that it replaces. `changed` tells whether it says
    /// something else than they did; readers that follow the table's changes skip it otherwise.
    ///
    /// After an error the commit may have happened all the same: [`TableLog::reload`] tells.
    pub(crate) async fn replace(
        &mut self,
        gone: &[Arc<DataFile>],
        new: Option<&NewFile>,
        changed: bool,
        now: i64,
    ) -> Result<(), LogError> {
        let committed = gone.iter().map(|file| file.committed).max().unwrap_or(now);
        let millis = committed.div_euclid(1000);
        let mut actions: Vec<Action> =
            gone.iter().filter_map(|file| self.remove_action(file, changed, now)).collect();
        actions.extend(
            new.map(|file| Action::Add(Add { data_change: changed, ..add_action(file, millis) })),
        );
        let size = new.map_or(0, |file| file.size);
        let operation = DeltaOperation::Optimize {
            predicate: None,
            target_size: i64::try_from(size).unwrap_or(i64::MAX),
        };
        let expected = self.state.version() + 1;
        self.commit_actions(actions, Vec::new(), operation).await?;
        if self.state.version() != expected {
            return self.read_state().await;
        }
        for file in gone {
            if let Some(path) = below(self.spec.name, file) {
                self.files.remove(path);
            }
        }
        if let Some(file) = new {
            self.list(file, millis);
        }
        Ok(())
    }

    fn remove_action(&self, file: &DataFile, changed: bool, now: i64) -> Option<Action> {
        let path = below(self.spec.name, file)?;
        let date = path.split('/').find_map(|p| p.strip_prefix(DATE)?.strip_prefix('='));
        let part = file.part.map(|part| part.number().to_string());
        Some(Action::Remove(Remove {
            path: path.to_owned(),
            data_change: changed,
            deletion_timestamp: Some(now.div_euclid(1000)),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::from([
                (DATE.to_owned(), date.map(str::to_owned)),
                (PART.to_owned(), part),
            ])),
            size: i64::try_from(file.size).ok(),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
        }))
    }
}

/// Path of a file below its table's folder.
fn below<'a>(table: &str, file: &'a DataFile) -> Option<&'a str> {
    file.path.as_ref().strip_prefix(table)?.strip_prefix('/')
}
