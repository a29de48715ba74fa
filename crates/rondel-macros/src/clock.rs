//! What stands in the attribute: `clock = "virtual"`, or nothing.

use proc_macro::{TokenStream, TokenTree};

use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The system's, unless the environment says otherwise.
    Usual,
    Virtual,
}

impl Clock {
    pub(crate) fn parse(options: TokenStream) -> Result<Self, Error> {
        let tokens: Vec<TokenTree> = options.into_iter().collect();
        let Some(first) = tokens.first() else {
            return Ok(Self::Usual);
        };
        let said: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        match said.as_slice() {
            ["clock", "=", "\"virtual\""] | ["clock", "=", "\"virtual\"", ","] => Ok(Self::Virtual),
            ["clock", "=", "\"real\""] | ["clock", "=", "\"real\"", ","] => Ok(Self::Usual),
            _ => Err(Error::new(
                first.span(),
                "the only option is `clock = \"virtual\"` or `clock = \"real\"`",
            )),
        }
    }
}
