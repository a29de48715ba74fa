//! The function that the attribute stands on, taken apart as far as is needed.

use std::iter::once;

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use crate::clock::Clock;
use crate::error::Error;

/// An `async fn` without arguments.
pub(crate) struct Function {
    /// Attributes and visibility.
    before: Vec<TokenTree>,
    name: Ident,
    /// The arrow and the type, if it returns something.
    returns: Vec<TokenTree>,
    body: Group,
}

impl Function {
    pub(crate) fn parse(kind: &str, item: TokenStream) -> Result<Self, Error> {
        let wrong = |at, what: &str| {
            Err(Error::new(
                at,
                format!("`#[rondel::{kind}]` is for an `async fn` without arguments: {what}"),
            ))
        };
        let mut tokens = item.into_iter().peekable();
        let mut before: Vec<TokenTree> = Vec::new();
        let mut is_async = false;
        // Up to `fn`; what stands in brackets is a token by itself.
        let keyword = loop {
            match tokens.next() {
                None => return wrong(Span::call_site(), "this is no function"),
                Some(TokenTree::Ident(word)) => match word.to_string().as_str() {
                    "fn" => break word,
                    "async" => is_async = true,
                    "unsafe" | "extern" | "const" => {
                        return wrong(word.span(), &format!("it cannot be `{word}`"));
                    }
                    "struct" | "enum" | "mod" | "trait" | "impl" => {
                        return wrong(word.span(), "this is no function");
                    }
                    _ => before.push(word.into()),
                },
                Some(token) => before.push(token),
            }
        };
        if !is_async {
            return wrong(keyword.span(), "`async` is missing before `fn`");
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return wrong(keyword.span(), "it has no name");
        };
        match tokens.next() {
            Some(TokenTree::Group(arguments))
                if arguments.delimiter() == Delimiter::Parenthesis =>
            {
                if !arguments.stream().is_empty() {
                    return wrong(arguments.span(), "nobody could pass them");
                }
            }
            Some(other) => return wrong(other.span(), "it cannot be generic"),
            None => return wrong(name.span(), "it has no arguments' parentheses"),
        }
        let mut returns: Vec<TokenTree> = tokens.collect();
        match returns.pop() {
            Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => Ok(Self {
                before,
                name,
                returns,
                body,
            }),
            _ => wrong(name.span(), "it has no body"),
        }
    }

    /// The same function, no longer `async`: the one that was written is inside, and is run on a loop.
    pub(crate) fn on_a_loop(self, kind: &str, clock: Clock, attribute: &str) -> TokenStream {
        let Self {
            before,
            name,
            returns,
            body,
        } = self;
        let at = Span::call_site();
        let run = match clock {
            Clock::Usual => format!("::rondel::__entry::{kind}"),
            Clock::Virtual => format!("::rondel::__entry::{kind}_on_virtual_clock"),
        };
        let nothing = || TokenTree::from(Group::new(Delimiter::Parenthesis, TokenStream::new()));
        let word = |word: &str| TokenTree::from(Ident::new(word, at));

        // async fn name() -> Type { … }
        let mut inside: Vec<TokenTree> = vec![word("async"), word("fn"), name.clone().into()];
        inside.push(nothing());
        inside.extend(returns.iter().cloned());
        inside.push(body.into());
        // ::rondel::__entry::main(name())
        let call: TokenStream = once(TokenTree::from(name.clone()))
            .chain(once(nothing()))
            .collect();
        let mut tokens: TokenStream = inside.into_iter().collect();
        tokens.extend(source(&run));
        tokens.extend(once(TokenTree::from(Group::new(
            Delimiter::Parenthesis,
            call,
        ))));

        let mut whole = source(attribute);
        whole.extend(before);
        whole.extend([word("fn"), name.into(), nothing()]);
        whole.extend(returns);
        whole.extend(once(TokenTree::from(Group::new(Delimiter::Brace, tokens))));
        whole
    }
}

/// Text of our own, as tokens.
fn source(text: &str) -> TokenStream {
    text.parse().expect("it is written above")
}
