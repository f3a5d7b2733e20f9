//! A table of one snapshot, as DataFusion scans it.
//!
//! ```text
//! UnionExec
//!   DataSourceExec   all Parquet files that can hold matching rows
//!   FilterExec       those with hidden rows, one such branch for each list of what is hidden
//!     DataSourceExec
//!   ProjectionExec   rows in memory, labels cast
//!     DataSourceExec
//! ```
//!
//! The scan of the files is DataFusion's own node with nothing around it, so that row groups, pages
//! and rows are pruned by its machinery and a plan can be sent to another process. What it reads is
//! decided here, in this order:
//!
//! 1. [`prune`] drops files by what the table's log says of each (times, bounds of labels, part),
//!    before any of them is opened;
//! 2. [`labels`] turns filters into conditions on labels, and [`select`] asks the label index of each
//!    file that is left ([`indexes`] keeps them): it drops the files without a matching row and gives
//!    the others a selection of rows, so that only pages with matching rows are read;
//! 3. files with rows that must not be seen go through a filter of their own ([`hidden`]).
//!
//! All of it errs on the side of reading: the filters themselves run on every row that is read.
//!
//! Labels are `Utf8View` inside the engine. Over 4 million rows sorted as the store sorts them
//! (two cores, optimised build), `GROUP BY` two labels took 145 ms with views, 242 ms with `Utf8` and
//! 285 ms with `Dictionary(Int32, Utf8)`; three labels 605, 552 and 797 ms. DataFusion's column-wise
//! group table has no dictionaries, they take its slow path. Filters are evaluated inside the Parquet
//! reader (`pushdown_filters`): up to twice as fast for selective ones (83 ms became 41 ms), no slower
//! for the rest.

use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, expressions::col as physical_col};
use weir_storage::{Hidden, Snapshot, visible};

use self::held::Held;
use self::hidden::Visible;
use self::indexes::{Indexes, Reader};
use self::labels::Condition;
use self::select::Chosen;

mod held;
mod hidden;
pub(crate) mod indexes;
mod labels;
mod prune;
pub(crate) mod select;
#[cfg(test)]
mod tests;

/// What is hidden in a file.
type HiddenList = Arc<[Arc<Hidden>]>;

/// One table at one moment.
#[derive(Debug)]
pub(crate) struct SnapshotTable {
    snapshot: Snapshot,
    schema: SchemaRef,
    indexes: Arc<Indexes>,
}

impl SnapshotTable {
    pub(crate) fn new(snapshot: Snapshot, indexes: Arc<Indexes>) -> Self {
        let schema = engine_schema(&snapshot.spec.schema);
        Self { snapshot, schema, indexes }
    }

    /// The plans that read the files: one for those without hidden rows, and one for each list of
    /// what is hidden.
    fn scan_files(
        &self,
        state: &dyn Session,
        chosen: Vec<Chosen>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut lists: Vec<(HiddenList, Vec<Chosen>)> = Vec::new();
        for file in chosen {
            let hidden = &file.file.hidden;
            match lists.iter_mut().find(|(list, _)| list == hidden) {
                Some((_, files)) => files.push(file),
                None => lists.push((hidden.clone(), vec![file])),
            }
        }
        lists
            .into_iter()
            .map(|(hidden, files)| {
                if hidden.is_empty() {
                    return self.source(state, &files, projection, limit);
                }
                self.scan_visible(state, hidden, &files, projection)
            })
            .collect()
    }

    /// Reads files of which some rows must not be seen.
    fn scan_visible(
        &self,
        state: &dyn Session,
        hidden: HiddenList,
        files: &[Chosen],
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let names = hidden::columns(&hidden, self.snapshot.spec.time, &self.schema);
        let mut read: Vec<usize> = match projection {
            Some(indices) => indices.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let wanted = read.len();
        for name in &names {
            let index = self.schema.index_of(name)?;
            if !read.contains(&index) {
                read.push(index);
            }
        }
        let source = self.source(state, files, Some(&read), None)?;
        let schema = source.schema();
        let columns =
            names.iter().map(|name| physical_col(name, &schema)).collect::<Result<Vec<_>>>()?;
        let visible = Visible::new(hidden, self.snapshot.spec.time, names, columns);
        let filter = FilterExecBuilder::new(Arc::new(visible), source)
            .apply_projection(Some((0..wanted).collect()))?
            .build()?;
        Ok(Arc::new(filter))
    }

    fn source(
        &self,
        state: &dyn Session,
        files: &[Chosen],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let store = self.snapshot.object_store.clone();
        let source = ParquetSource::new(self.schema.clone())
            .with_metadata_size_hint(indexes::FOOTER_BYTES)
            .with_parquet_file_reader_factory(Arc::new(Held::new(
                store,
                cache,
                self.snapshot.files.clone(),
            )))
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true);
        let url = ObjectStoreUrl::parse(self.snapshot.object_store_url.as_str())?;
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(self.groups(files, state.config().target_partitions()))
            .with_statistics(self.statistics_of(files))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Files dealt to `count` groups, always to the group with the fewest bytes to read so far.
    fn groups(&self, files: &[Chosen], count: usize) -> Vec<FileGroup> {
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> =
            vec![(0, Vec::new()); count.clamp(1, files.len().max(1))];
        for chosen in files {
            if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                *bytes += chosen.bytes();
                let file = &chosen.file;
                let statistics = self.statistics_of(std::slice::from_ref(chosen));
                let mut file = PartitionedFile::new(file.path.to_string(), file.size)
                    .with_statistics(Arc::new(statistics));
                if let Some(rows) = &chosen.rows {
                    file = file.with_extension(ParquetRowSelection::new(rows.selection.clone()));
                }
                group.push(file);
            }
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
    }

    fn statistics_of(&self, files: &[Chosen]) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows: u64 = files.iter().map(Chosen::count).sum();
        let bytes: u64 = files.iter().map(Chosen::bytes).sum();
        statistics.num_rows = usize::try_from(rows).map_or(Precision::Absent, Precision::Exact);
        statistics.total_byte_size =
            usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact);
        let time = self.schema.index_of(self.snapshot.spec.time).ok();
        if let Some(column) = time.and_then(|i| statistics.column_statistics.get_mut(i)) {
            let zone: Option<Arc<str>> = Some("UTC".into());
            let bound = |micros: Option<i64>| {
                micros.map_or(Precision::Absent, |t| {
                    Precision::Exact(ScalarValue::TimestampMicrosecond(Some(t), zone.clone()))
                })
            };
            *column = ColumnStatistics::new_unknown()
                .with_null_count(Precision::Exact(0))
                .with_min_value(bound(files.iter().map(|f| f.file.min_time).min()))
                .with_max_value(bound(files.iter().map(|f| f.file.max_time).max()));
        }
        // Rows of these files are left out, and nobody knows which of them had the bounds.
        let partial =
            |f: &Chosen| f.rows.is_some() || !f.file.hidden.is_empty() || f.file.rows == 0;
        if files.iter().any(partial) { statistics.to_inexact() } else { statistics }
    }

    fn scan_memory(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let memory =
            self.snapshot.memory.batches().map_err(|e| DataFusionError::External(e.into()))?;
        let mut groups = vec![Vec::new(); partitions.clamp(1, memory.len().max(1))];
        let count = groups.len();
        let hidden = &self.snapshot.hidden_in_memory;
        for (i, batch) in memory.iter().enumerate() {
            let batch = match visible(hidden, self.snapshot.spec.time, batch)? {
                Some(seen) => filter_record_batch(batch, &seen)?,
                None => batch.clone(),
            };
            if let Some(group) = groups.get_mut(i % count) {
                group.push(batch);
            }
        }
        let stored = self.snapshot.spec.schema.clone();
        let plan: Arc<dyn ExecutionPlan> =
            MemorySourceConfig::try_new_exec(&groups, stored, projection.cloned())?;
        let target = match projection {
            Some(indices) => Arc::new(self.schema.project(indices)?),
            None => self.schema.clone(),
        };
        cast_to(plan, &target)
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Inexact: the filter stays in the plan, and the physical optimiser moves it into the
        // Parquet reader and onto the rows in memory.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A limit may stop a scan only where no filter comes after it.
        let limit = limit.filter(|_| filters.is_empty());
        let files = prune::files(state, &self.snapshot, &self.schema, filters)?;
        let reader = Reader {
            store: self.snapshot.object_store.clone(),
            footers: state.runtime_env().cache_manager.get_file_metadata_cache(),
            indexes: self.indexes.clone(),
        };
        let condition = Condition::of(state, &self.schema, filters);
        let chosen = select::rows(&reader, files, condition).await?;
        let partitions = state.config().target_partitions();
        let mut inputs = self.scan_files(state, chosen, projection, limit)?;
        if !self.snapshot.memory.is_empty() {
            inputs.push(self.scan_memory(partitions, projection)?);
        }
        match inputs.pop() {
            None => {
                let schema = match projection {
                    Some(indices) => Arc::new(self.schema.project(indices)?),
                    None => self.schema.clone(),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            Some(only) if inputs.is_empty() => Ok(only),
            Some(last) => {
                inputs.push(last);
                UnionExec::try_new(inputs)
            }
        }
    }
}

/// The table's schema with every dictionary-encoded text as a view.
fn engine_schema(stored: &Schema) -> SchemaRef {
    let fields: Vec<Field> = stored
        .fields()
        .iter()
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Dictionary(_, value) if **value == DataType::Utf8 => DataType::Utf8View,
                other => other.clone(),
            };
            Field::new(field.name(), data_type, field.is_nullable())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Puts a projection on top that casts the columns whose type differs from `target`.
fn cast_to(plan: Arc<dyn ExecutionPlan>, target: &Schema) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    if schema.fields() == target.fields() {
        return Ok(plan);
    }
    let exprs = target
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let name = field.name();
            let column: Arc<dyn PhysicalExpr> = match schema.fields().get(i) {
                Some(found) if found.name() == name => Arc::new(Column::new(name, i)),
                _ => physical_col(name, &schema)?,
            };
            let same = schema.field_with_name(name).map_err(DataFusionError::from)?.data_type()
                == field.data_type();
            let expr: Arc<dyn PhysicalExpr> = if same {
                column
            } else {
                Arc::new(CastExpr::new(column, field.data_type().clone(), None))
            };
            Ok((expr, name.clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(exprs, plan)?))
}
