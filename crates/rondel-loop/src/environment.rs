//! Variables of the environment that turn something on or off.

use std::ffi::OsStr;

/// Whether a value means no: empty, `0`, `off`, `no`, `false`.
pub(crate) fn is_no(value: &OsStr) -> bool {
    ["", "0", "off", "no", "false"]
        .iter()
        .any(|no| value == *no)
}

/// Whether a value means yes, and nothing more: `1`, `on`, `yes`, `true`.
pub(crate) fn is_yes(value: &OsStr) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value == *yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_say() {
        for (word, yes, no) in [
            ("1", true, false),
            ("true", true, false),
            ("0", false, true),
            ("", false, true),
            ("off", false, true),
            ("/tmp/socket", false, false),
        ] {
            let word = OsStr::new(word);
            assert_eq!((is_yes(word), is_no(word)), (yes, no), "{word:?}");
        }
    }
}
