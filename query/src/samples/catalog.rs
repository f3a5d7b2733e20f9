//! Which series of samples there are. A series counts for a period when a chunk of it, or a point in
//! memory, lies in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::SampleSource;
use super::block::{Part, Texts};
use super::wanted::Wanted;
use crate::cardinality::Cardinality;
use crate::error::{Error, ErrorKind};
use crate::promql::Stop;
use crate::promql::source::{Labels, Selector};

/// Most label sets that [`SampleSource::label_sets`] gives.
const MAX_SERIES: usize = 1_000_000;

/// Points with times in `(after, until]`, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) after: i64,
    pub(crate) until: i64,
}

impl SampleSource {
    /// Label sets of the series that any of the selectors matches, in order; after `most` of them it
    /// looks for no more.
    ///
    /// # Errors
    /// [`ErrorKind::Execution`] for more than a million.
    pub(crate) async fn label_sets(
        &self,
        selectors: &[Selector],
        span: Span,
        most: usize,
        stop: &Stop,
    ) -> Result<BTreeSet<Labels>, Error> {
        let all = BTreeSet::new();
        let add = move |all: &mut BTreeSet<Labels>, labels: Labels, _: usize| {
            all.insert(labels);
            all.len() < most && all.len() <= MAX_SERIES
        };
        let all = self.fold(selectors, span, stop, all, add).await?;
        if all.len() > MAX_SERIES {
            return Err(Error::new(
                ErrorKind::Execution,
                format!(
                    "more than {MAX_SERIES} series match; narrow the time range, match fewer or set \
                     limit="
                ),
            ));
        }
        Ok(all)
    }

    /// Names of the labels of the matching series.
    pub(crate) async fn label_names(
        &self,
        selectors: &[Selector],
        span: Span,
        stop: &Stop,
    ) -> Result<BTreeSet<Arc<str>>, Error> {
        let add = |names: &mut BTreeSet<Arc<str>>, Labels(labels): Labels, _: usize| {
            names.extend(labels.into_iter().map(|(name, _)| name));
            true
        };
        self.fold(selectors, span, stop, BTreeSet::new(), add).await
    }

    /// Values of one label among the matching series.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        selectors: &[Selector],
        span: Span,
        stop: &Stop,
    ) -> Result<BTreeSet<Arc<str>>, Error> {
        let name = name.to_owned();
        let add = move |values: &mut BTreeSet<Arc<str>>, Labels(labels): Labels, _: usize| {
            let value = labels.into_iter().find(|(label, _)| **label == *name);
            values.extend(value.map(|(_, value)| value));
            true
        };
        self.fold(selectors, span, stop, BTreeSet::new(), add).await
    }

    /// Counts all series of a time.
    pub(crate) async fn count_series(
        &self,
        selector: &Selector,
        span: Span,
        stop: &Stop,
        counts: Cardinality,
    ) -> Result<Cardinality, Error> {
        let add = |counts: &mut Cardinality, Labels(labels): Labels, chunks: usize| {
            counts.chunks += u64::try_from(chunks).unwrap_or_default();
            counts.add(1, labels.iter().map(|(name, value)| (name, value)));
            true
        };
        let selectors = std::slice::from_ref(selector);
        self.fold(selectors, span, stop, counts, add).await
    }

    /// Gives each matching series, and of how many chunks it is, to `add` until that says no. A series
    /// that several selectors match comes several times.
    async fn fold<T: Send + 'static>(
        &self,
        selectors: &[Selector],
        span: Span,
        stop: &Stop,
        mut all: T,
        add: impl Fn(&mut T, Labels, usize) -> bool + Send + Clone + 'static,
    ) -> Result<T, Error> {
        let Span { after, until } = span;
        for selector in selectors {
            let wanted = Arc::new(Wanted::new(selector));
            let requests = self.requests(&wanted, after, until).await;
            let (source, runtime) = (self.clone(), Handle::current());
            let (add, stop) = (add.clone(), stop.clone());
            let work = move || {
                let given_up = || stop.check().is_err();
                let mut merge =
                    source.merged(requests, &wanted, (after, until), &runtime, &given_up)?;
                let mut texts = Texts::default();
                while let Some(series) = merge.next()? {
                    stop.check()?;
                    let is_chunk = |part: &&Part| matches!(part, Part::Chunk(_));
                    let chunks = series.parts.iter().filter(is_chunk).count();
                    let labels = texts.labels(&series.name, &series.labels)?;
                    if !add(&mut all, labels, chunks) {
                        return Ok((all, false));
                    }
                }
                Ok::<_, crate::promql::error::Error>((all, true))
            };
            let done = tokio::task::spawn_blocking(work).await;
            let more;
            (all, more) = done.map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))??;
            if !more {
                break;
            }
        }
        Ok(all)
    }
}
