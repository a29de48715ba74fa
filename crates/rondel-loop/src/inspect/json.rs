//! JSON, written by hand: what is inspected is flat, and a library for it would be half of what a loop depends on.

use std::fmt::{Display, Write};

/// An object or array under way, with everything written so far.
pub(super) struct Json {
    text: String,
    /// Whether the next value is the first of its object or array.
    first: bool,
}

impl Json {
    pub(super) const fn new() -> Self {
        Self {
            text: String::new(),
            first: true,
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// A whole object, written by `fields`.
    pub(super) fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nested('{', '}', fields);
    }

    /// An array, with one element for each item.
    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut element: impl FnMut(&mut Self, T),
    ) {
        self.nested('[', ']', |json| {
            for item in items {
                json.separate();
                element(json, item);
            }
        });
    }

    fn nested(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.text.push(open);
        self.first = true;
        inside(self);
        self.first = false;
        self.text.push(close);
    }

    /// The name of a field; its value follows.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.string(name);
        self.text.push(':');
        self
    }

    pub(super) fn field(&mut self, name: &str, number: impl Into<Number>) {
        self.name(name).number(number);
    }

    pub(super) fn text_field(&mut self, name: &str, value: &str) {
        self.name(name).string(value);
    }

    pub(super) fn number(&mut self, number: impl Into<Number>) {
        match number.into() {
            Number::Whole(number) => self.display(number),
            Number::Seconds(seconds) => self.display(format_args!("{seconds:.9}")),
            Number::Truth(truth) => self.display(truth),
        }
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, json: &str) {
        self.text.push_str(json);
    }

    fn display(&mut self, value: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "{value}");
    }

    fn separate(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.text.push(',');
        }
    }

    /// A string, with what RFC 8259 wants escaped.
    pub(super) fn string(&mut self, value: &str) {
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                control if u32::from(control) < 0x20 => {
                    self.display(format_args!("\\u{:04x}", u32::from(control)));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }
}

/// What is not text.
pub(super) enum Number {
    Whole(u64),
    Seconds(f64),
    Truth(bool),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Number {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<std::time::Duration> for Number {
    fn from(time: std::time::Duration) -> Self {
        Self::Seconds(time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_and_strings_escaped() {
        let mut json = Json::new();
        json.object(|json| {
            json.field("a", 1_u64);
            json.name("b").array([1_u64, 2], Json::number);
            json.name("c").array(Vec::<u64>::new(), Json::number);
            json.text_field("d", "\"\\\n\u{1}é");
            json.field("e", true);
            json.field("f", std::time::Duration::from_millis(1500));
        });
        assert_eq!(
            json.finish(),
            "{\"a\":1,\"b\":[1,2],\"c\":[],\"d\":\"\\\"\\\\\\u000a\\u0001é\",\"e\":true,\"f\":1.500000000}"
        );
    }
}
