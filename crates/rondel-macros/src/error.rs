//! What is wrong with an attribute, said where it stands.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// What is wrong, and where.
pub(crate) struct Error {
    at: Span,
    message: String,
}

impl Error {
    pub(crate) fn new(at: Span, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// An invocation of `compile_error!` that points there.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let Self { at, message } = self;
        let text = spanned(Literal::string(&message).into(), at);
        let text = Group::new(Delimiter::Parenthesis, text.into());
        let end = spanned(Punct::new(';', Spacing::Alone).into(), at);
        [
            Ident::new("compile_error", at).into(),
            spanned(Punct::new('!', Spacing::Alone).into(), at),
            spanned(text.into(), at),
            end,
        ]
        .into_iter()
        .collect()
    }
}

fn spanned(mut token: TokenTree, at: Span) -> TokenTree {
    token.set_span(at);
    token
}
