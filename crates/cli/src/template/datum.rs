//! The values a template works on: JSON, with what Go's types would know beyond it.

use serde_json::Value;
use std::borrow::Cow;

/// What Go's types know about a document and JSON does not, by field name.
///
/// A template that names a field which a Go struct lacks is at fault, but a key that a map lacks is `<no value>`;
/// JSON shows both as objects. And Go leaves empty fields out of JSON that a template can still read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Schema {
    /// Fields that hold a map: any key may be asked for.
    pub(crate) maps: &'static [&'static str],
    /// Fields that hold a map of texts: what it lacks is an empty one to `index`.
    pub(crate) text_maps: &'static [&'static str],
    /// Fields that hold a list: `null` is an empty one.
    pub(crate) lists: &'static [&'static str],
    /// Fields that exist even where the document leaves them out, as text that is empty.
    pub(crate) texts: &'static [&'static str],
    /// Fields that exist even where the document leaves them out, as 0.
    pub(crate) numbers: &'static [&'static str],
    /// Fields that hold nanoseconds, shown as `1m30s`; they exist even where the document leaves them out.
    pub(crate) durations: &'static [&'static str],
    /// Fields that exist even where the document leaves them out, as nothing.
    pub(crate) pointers: &'static [&'static str],
    /// Fields of the top level that are called with a key, as in `{{.Label "name"}}`; `json` leaves them out.
    pub(crate) methods: &'static [&'static str],
    /// The value is the headings of a table: functions that would change them do not, and every field may be asked for.
    pub(crate) heading: bool,
    /// The value is a row of a list: as JSON, what is special in HTML is escaped.
    pub(crate) row: bool,
    /// How values are written as JSON, where that is not what they are.
    pub(crate) json: Option<fn(&Value) -> String>,
}

impl Schema {
    /// JSON says it all.
    pub(crate) const NOTHING: Self = Self {
        maps: &[],
        text_maps: &[],
        lists: &[],
        texts: &[],
        numbers: &[],
        durations: &[],
        pointers: &[],
        methods: &[],
        heading: false,
        row: false,
        json: None,
    };

    /// The shape of the value that a field of that name holds.
    pub(super) fn shape_of(&self, name: &str) -> Shape {
        if self.maps.contains(&name) {
            Shape::Map
        } else if self.text_maps.contains(&name) {
            Shape::Texts
        } else if self.lists.contains(&name) {
            Shape::List
        } else if self.durations.contains(&name) {
            Shape::Duration
        } else {
            Shape::Plain
        }
    }
}

/// What kind of Go value stands behind a piece of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Whatever the JSON says; an object is a struct.
    Plain,
    /// An object that is a map.
    Map,
    /// A map whose entries are texts.
    Texts,
    /// `null` that is an empty list.
    List,
    /// A number of nanoseconds.
    Duration,
    /// The key was not there.
    Missing,
}

impl Shape {
    /// Whether any key may be asked for.
    pub(super) fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::Texts)
    }
}

/// A value in flight.
#[derive(Debug, Clone)]
pub(super) struct Datum<'a> {
    pub(super) value: Cow<'a, Value>,
    pub(super) shape: Shape,
}

/// Why a field could not be read.
pub(super) enum Unreadable {
    /// A struct without that field.
    NoField,
    /// Not a struct or map at all.
    NoFields,
    /// `nil`.
    Nil,
}

impl<'a> Datum<'a> {
    /// The value that a template is rendered with.
    pub(super) fn root(value: &'a Value, schema: &Schema) -> Self {
        let shape = if schema.heading { Shape::Map } else { Shape::Plain };
        Self { value: Cow::Borrowed(value), shape }
    }

    pub(super) fn missing() -> Self {
        Self { value: Cow::Owned(Value::Null), shape: Shape::Missing }
    }

    fn with_shape(value: Cow<'a, Value>, shape: Shape) -> Self {
        Self { value, shape }
    }

    /// The value of a field.
    ///
    /// # Errors
    /// [`Unreadable`], for the caller to word.
    pub(super) fn field(&self, name: &str, schema: &Schema) -> Result<Self, Unreadable> {
        if self.shape == Shape::Missing {
            return Ok(Self::missing());
        }
        let found = match &*self.value {
            Value::Object(map) => map.contains_key(name),
            Value::Null if self.shape.is_map() => false,
            Value::Null if self.shape == Shape::Plain => return Err(Unreadable::Nil),
            _ => return Err(Unreadable::NoFields),
        };
        let shape = schema.shape_of(name);
        if found {
            return Ok(self.select(shape, |value| value.get(name)));
        }
        if self.shape.is_map() {
            return Ok(Self::missing());
        }
        if shape == Shape::Duration || schema.numbers.contains(&name) {
            return Ok(Self::with_shape(Cow::Owned(Value::from(0)), shape));
        }
        if shape != Shape::Plain || schema.pointers.contains(&name) {
            return Ok(Self::with_shape(Cow::Owned(Value::Null), shape));
        }
        if schema.texts.contains(&name) {
            return Ok(Value::String(String::new()).into());
        }
        Err(Unreadable::NoField)
    }

    /// The element of a list.
    pub(super) fn element(&self, index: usize) -> Self {
        self.select(Shape::Plain, |value| value.get(index))
    }

    /// The entry of a map.
    pub(super) fn entry(&self, key: &str) -> Option<Self> {
        self.value.get(key)?;
        Some(self.select(Shape::Plain, |value| value.get(key)))
    }

    /// What `index` finds under a key that a map lacks.
    pub(super) fn zero_entry(&self) -> Self {
        if self.shape == Shape::Texts { String::new().into() } else { Self::missing() }
    }

    fn select(&self, shape: Shape, pick: impl for<'v> Fn(&'v Value) -> Option<&'v Value>) -> Self {
        let value = match &self.value {
            Cow::Borrowed(value) => pick(value).map(Cow::Borrowed),
            Cow::Owned(value) => pick(value).cloned().map(Cow::Owned),
        };
        Self { value: value.unwrap_or(Cow::Owned(Value::Null)), shape }
    }

    /// Whether an `if` takes it for true: anything but the empty value of its kind.
    pub(super) fn truth(&self) -> bool {
        match &*self.value {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !self.shape.is_map() || !map.is_empty(),
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// What Go calls the type, as far as JSON tells.
    pub(super) fn type_name(&self) -> &'static str {
        match &*self.value {
            Value::Null if self.shape == Shape::List => "[]string",
            Value::Null => "nil",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int",
            Value::String(_) => "string",
            Value::Array(list) if list.iter().all(Value::is_string) => "[]string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        }
    }
}

impl From<Value> for Datum<'_> {
    fn from(value: Value) -> Self {
        Self { value: Cow::Owned(value), shape: Shape::Plain }
    }
}

impl From<String> for Datum<'_> {
    fn from(text: String) -> Self {
        Value::String(text).into()
    }
}

impl From<bool> for Datum<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth).into()
    }
}
