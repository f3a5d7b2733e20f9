//! The values of one series at all evaluation times, eight bytes for each.
//!
//! ```text
//! len     evaluation times
//! first   the evaluation time of the first cell
//! cells   bits of values, from the first value to the last; NONE where there is none in between
//! ```
//!
//! A series that begins late or ends early takes no room for the rest. [`NONE`] is the pattern of a NaN
//! that no arithmetic makes (it is a signalling one); a sample that has it all the same is taken in as another NaN,
//! which no expression can tell apart.

/// No value.
const NONE: u64 = 0x7ff0_0000_0000_0001;

/// One value, or none, for each evaluation time.
#[derive(Debug, Clone, Default)]
pub struct Values {
    len: usize,
    first: usize,
    cells: Vec<u64>,
}

fn cell(value: Option<f64>) -> u64 {
    match value.map(f64::to_bits) {
        None => NONE,
        Some(NONE) => f64::NAN.to_bits(),
        Some(bits) => bits,
    }
}

fn value(cell: u64) -> Option<f64> {
    (cell != NONE).then(|| f64::from_bits(cell))
}

impl Values {
    /// No value at any of `len` evaluation times.
    #[must_use]
    pub fn none(len: usize) -> Self {
        Self { len, first: 0, cells: Vec::new() }
    }

    /// The same at each of `len` evaluation times.
    #[must_use]
    pub fn repeated(value: Option<f64>, len: usize) -> Self {
        match value {
            None => Self::none(len),
            Some(_) => Self { len, first: 0, cells: vec![cell(value); len] },
        }
    }

    /// How many evaluation times there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no evaluation time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For how many evaluation times room is taken.
    pub(crate) fn held(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is any value.
    #[must_use]
    pub fn any(&self) -> bool {
        self.cells.iter().any(|cell| *cell != NONE)
    }

    /// The value at an evaluation time.
    #[must_use]
    pub fn get(&self, step: usize) -> Option<f64> {
        step.checked_sub(self.first).and_then(|at| self.cells.get(at)).copied().and_then(value)
    }

    /// The value at the first evaluation time.
    #[must_use]
    pub fn first(&self) -> Option<f64> {
        self.get(0)
    }

    /// The value at the last evaluation time.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.len.checked_sub(1).and_then(|last| self.get(last))
    }

    /// Values, or none, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        (0..self.len).map(|step| self.get(step))
    }

    /// Those that there are, in order, each with its place.
    pub fn present(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        (self.first..).zip(&self.cells).filter_map(|(step, cell)| Some((step, value(*cell)?)))
    }

    /// Sets the value at an evaluation time; nothing beyond the last.
    pub(crate) fn set(&mut self, step: usize, value: Option<f64>) {
        if step >= self.len || (value.is_none() && self.get(step).is_none()) {
            return;
        }
        if self.cells.is_empty() {
            self.first = step;
        }
        if step < self.first {
            self.cells.splice(..0, std::iter::repeat_n(NONE, self.first - step));
            self.first = step;
        }
        let at = step - self.first;
        if at >= self.cells.len() {
            self.cells.resize(at + 1, NONE);
        }
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell(value);
        }
    }

    /// Puts what `f` makes of each value, given its place, in its stead.
    pub(crate) fn update(&mut self, mut f: impl FnMut(usize, f64) -> Option<f64>) {
        for (step, place) in (self.first..).zip(&mut self.cells) {
            if let Some(known) = value(*place) {
                *place = cell(f(step, known));
            }
        }
    }
}

impl From<&[Option<f64>]> for Values {
    fn from(values: &[Option<f64>]) -> Self {
        let len = values.len();
        let Some(first) = values.iter().position(Option::is_some) else { return Self::none(len) };
        let last = values.iter().rposition(Option::is_some).unwrap_or(first);
        let cells = values.get(first..=last).unwrap_or_default();
        Self { len, first, cells: cells.iter().map(|value| cell(*value)).collect() }
    }
}

impl FromIterator<Option<f64>> for Values {
    fn from_iter<I: IntoIterator<Item = Option<f64>>>(values: I) -> Self {
        let mut all = Self::default();
        for value in values {
            let step = all.len;
            all.len += 1;
            all.set(step, value);
        }
        all.cells.shrink_to_fit();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &Values) -> Vec<Option<u64>> {
        values.iter().map(|value| value.map(f64::to_bits)).collect()
    }

    #[test]
    fn values_come_back_bit_by_bit() {
        let nan = f64::from_bits(0x7ff8_0000_0000_0007);
        let all = [None, Some(1.5), None, Some(nan), Some(-0.0), Some(f64::INFINITY), None, None];
        let wanted: Vec<_> = all.iter().map(|value| value.map(f64::to_bits)).collect();
        let values = Values::from(&all[..]);
        assert_eq!(list(&values), wanted);
        assert_eq!(list(&all.into_iter().collect()), wanted);
        assert_eq!(values.held(), 5, "what is before the first and after the last takes room");
        assert_eq!((values.len(), values.first(), values.last()), (8, None, None));
        assert_eq!(values.present().map(|(step, _)| step).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(values.get(8), None);
    }

    #[test]
    fn a_value_with_the_pattern_of_none_is_a_value() {
        let odd = f64::from_bits(NONE);
        let mut values = Values::repeated(Some(odd), 2);
        assert!(values.iter().all(|value| value.is_some_and(f64::is_nan)));
        values.update(|step, _| (step == 1).then_some(odd));
        assert!(values.get(0).is_none() && values.get(1).is_some_and(f64::is_nan));
        assert!(Values::from(&[Some(odd)][..]).any());
    }

    #[test]
    fn values_are_set_in_any_order() {
        let mut values = Values::none(6);
        values.set(1, None);
        assert_eq!((values.held(), values.any()), (0, false));
        for (step, value) in [(3, 3.0), (1, 1.0), (5, 5.0), (9, 9.0)] {
            values.set(step, Some(value));
        }
        values.set(3, None);
        let found: Vec<_> = values.iter().collect();
        assert_eq!(found, [None, Some(1.0), None, None, None, Some(5.0)]);
        values.update(|_, _| None);
        assert!(!values.any());
    }
}
