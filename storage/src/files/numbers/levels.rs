//! From Arrow columns to the values of a page and what says where they are.
//!
//! ```text
//!           repetition               definition
//! numbers   -                        1 a value, 0 null; none if nothing can be null
//! lists     0 first of its row, 1    3 a value, 2 null within a list, 1 an empty list, 0 null
//! ```

use arrow::array::{Array, ArrowPrimitiveType, AsArray, ListArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::schema::types::ColumnDescriptor;

use super::delta::Physical;
use super::runs;

/// Equal levels from which on a run is shorter.
const LEVEL_RUN: usize = 8;
/// Definition levels of a list column in which both lists and their elements can be null.
const LIST_LEVELS: i16 = 3;

/// What a column is made of, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Numbers,
    Lists,
}

/// What these columns are, if they are written here.
pub(super) fn shape_of(
    data_type: &DataType,
    column: &ColumnDescriptor,
) -> Option<(Shape, Physical)> {
    let levels = (column.max_rep_level(), column.max_def_level());
    match data_type {
        DataType::Int32 if levels.0 == 0 => Some((Shape::Numbers, Physical::Int32)),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) if levels.0 == 0 => {
            Some((Shape::Numbers, Physical::Int64))
        }
        DataType::List(field)
            if *field.data_type() == DataType::Int64 && levels == (1, LIST_LEVELS) =>
        {
            Some((Shape::Lists, Physical::Int64))
        }
        _ => None,
    }
}

/// Rows of a page, taken apart.
#[derive(Debug)]
pub(super) struct Levels {
    data_type: DataType,
    shape: Shape,
    nullable: bool,
    pub(super) rows: usize,
    /// Values, nulls and lists without an element.
    pub(super) entries: usize,
    repetition: Vec<u16>,
    definition: Vec<u16>,
    pub(super) values: Vec<i64>,
}

impl Levels {
    pub(super) fn new(data_type: DataType, shape: Shape, column: &ColumnDescriptor) -> Self {
        Self {
            data_type,
            shape,
            nullable: column.max_def_level() > 0,
            rows: 0,
            entries: 0,
            repetition: Vec::new(),
            definition: Vec::new(),
            values: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.entries = 0;
        self.repetition.clear();
        self.definition.clear();
        self.values.clear();
    }

    /// Entries that are no values.
    pub(super) fn absent(&self) -> usize {
        self.entries - self.values.len()
    }

    /// Appends rows. `None`, and nothing is appended, if they are of another type.
    pub(super) fn push(&mut self, array: &dyn Array) -> Option<()> {
        if *array.data_type() != self.data_type {
            return None;
        }
        match array.data_type() {
            DataType::List(_) => self.push_lists(array.as_list_opt()?)?,
            DataType::Int32 => self.push_numbers::<Int32Type>(array)?,
            DataType::Int64 => self.push_numbers::<Int64Type>(array)?,
            _ => self.push_numbers::<TimestampMicrosecondType>(array)?,
        }
        self.rows += array.len();
        Some(())
    }

    fn push_numbers<T: ArrowPrimitiveType>(&mut self, array: &dyn Array) -> Option<()>
    where
        T::Native: Into<i64>,
    {
        let numbers = array.as_primitive_opt::<T>()?;
        if !self.nullable && numbers.null_count() > 0 {
            return None;
        }
        self.entries += numbers.len();
        if numbers.null_count() == 0 {
            self.values.extend(numbers.values().iter().map(|value| (*value).into()));
        } else {
            self.values.extend(numbers.iter().flatten().map(Into::into));
        }
        if self.nullable {
            self.definition.extend(numbers.iter().map(|value| u16::from(value.is_some())));
        }
        Some(())
    }

    fn push_lists(&mut self, lists: &ListArray) -> Option<()> {
        let elements = lists.values().as_primitive_opt::<Int64Type>()?;
        for (row, offsets) in lists.value_offsets().windows(2).enumerate() {
            let &[start, end] = offsets else { continue };
            let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
            if lists.is_null(row) || start == end {
                self.entries += 1;
                self.repetition.push(0);
                self.definition.push(u16::from(lists.is_valid(row)));
                continue;
            }
            for at in start..end {
                self.entries += 1;
                self.repetition.push(u16::from(at > start));
                let value = elements.values().get(at).filter(|_| elements.is_valid(at));
                self.definition.push(if value.is_some() { 3 } else { 2 });
                self.values.extend(value);
            }
        }
        Some(())
    }

    /// Appends the levels as a data page of the first version begins with them.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if self.shape == Shape::Lists {
            encode(&self.repetition, 1, out);
        }
        if self.nullable {
            encode(&self.definition, if self.shape == Shape::Lists { 2 } else { 1 }, out);
        }
    }
}

fn encode(levels: &[u16], width: u32, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend([0; 4]);
    runs::encode(levels, width, LEVEL_RUN, out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
}
