//! The attribute `#[wharf_sdk::http]`: turns a function into the HTTP handler
//! that a component exports.
//!
//! It reads the signature with the compiler's own token API instead of `syn`,
//! so that a guest's build stays short.

#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// Makes a function the component's HTTP handler.
///
/// The function is `async fn` or `fn`, takes one `wharf_sdk::Request` or
/// nothing, and returns anything that implements `wharf_sdk::IntoResponse`.
/// A component has one handler. See the documentation of `wharf_sdk`.
///
/// A request that the handler cannot look at, since the parameter is missing or
/// is `_`, is not read.
#[proc_macro_attribute]
pub fn http(options: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = match options.into_iter().next() {
        Some(token) => Err(Mistake::at(
            token.span(),
            "#[wharf_sdk::http] takes no options",
        )),
        None => Signature::parse(item.clone()),
    };
    match expanded {
        Ok(signature) => {
            let mut output = item;
            output.extend(signature.export());
            output
        }
        // The function stays, so that its uses raise no errors of their own.
        Err(mistake) => {
            let mut output = mistake.into_tokens();
            output.extend(item);
            output
        }
    }
}

/// What the expansion must know of the function.
struct Signature {
    name: Ident,
    is_async: bool,
    parameter: Parameter,
}

/// How the request is passed. One that the handler cannot look at is not read,
/// which saves time, and a third of a small component's size.
#[derive(Clone, Copy, PartialEq)]
enum Parameter {
    None,
    /// The pattern is `_`.
    Ignored,
    Taken,
}

/// A mistake in the user's code and the place to underline.
struct Mistake {
    span: Span,
    text: String,
}

impl Mistake {
    fn at(span: Span, text: impl Into<String>) -> Self {
        let text = text.into();
        Mistake { span, text }
    }

    fn into_tokens(self) -> TokenStream {
        let message = proc_macro::Literal::string(&self.text);
        let tokens: TokenStream = format!("::core::compile_error!({message});")
            .parse()
            .expect("a macro call with a string literal is valid");
        respan(tokens, self.span)
    }
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| {
            let mut token = match token {
                TokenTree::Group(group) => {
                    TokenTree::Group(Group::new(group.delimiter(), respan(group.stream(), span)))
                }
                other => other,
            };
            token.set_span(span);
            token
        })
        .collect()
}

const EXPECTED: &str = "expected `async fn handle(request: wharf_sdk::Request) -> \
                        wharf_sdk::Result<wharf_sdk::Response>`";

impl Signature {
    fn parse(item: TokenStream) -> Result<Self, Mistake> {
        let mut tokens = item.into_iter().peekable();
        let mut is_async = false;
        let mut last = Span::call_site();
        loop {
            let Some(token) = tokens.next() else {
                return Err(Mistake::at(
                    last,
                    format!("#[wharf_sdk::http] goes on a function; {EXPECTED}"),
                ));
            };
            last = token.span();
            let TokenTree::Ident(word) = &token else {
                // Attributes (`#` and a group) and the scope of `pub(…)`.
                continue;
            };
            match word.to_string().as_str() {
                "pub" | "crate" => {}
                "async" => is_async = true,
                "fn" => break,
                word @ ("unsafe" | "extern" | "const") => {
                    return Err(Mistake::at(
                        last,
                        format!("an HTTP handler cannot be `{word}`; {EXPECTED}"),
                    ));
                }
                other => {
                    return Err(Mistake::at(
                        last,
                        format!(
                            "#[wharf_sdk::http] goes on a function, not on `{other}`; {EXPECTED}"
                        ),
                    ));
                }
            }
        }
        let name = match tokens.next() {
            Some(TokenTree::Ident(name)) => name,
            _ => {
                return Err(Mistake::at(
                    last,
                    format!("a function needs a name; {EXPECTED}"),
                ));
            }
        };
        let parameter = match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                Self::parameters(&group)?
            }
            Some(other) => {
                return Err(Mistake::at(
                    other.span(),
                    format!("an HTTP handler cannot be generic; {EXPECTED}"),
                ));
            }
            None => {
                return Err(Mistake::at(
                    name.span(),
                    format!("a function needs parameters; {EXPECTED}"),
                ));
            }
        };
        let returns = matches!(
            (tokens.next(), tokens.next()),
            (Some(TokenTree::Punct(dash)), Some(TokenTree::Punct(arrow)))
                if dash.as_char() == '-' && arrow.as_char() == '>'
        );
        if !returns {
            return Err(Mistake::at(
                name.span(),
                format!("an HTTP handler returns a response; {EXPECTED}"),
            ));
        }
        Ok(Signature {
            name,
            is_async,
            parameter,
        })
    }

    /// More than one parameter is a mistake.
    fn parameters(group: &Group) -> Result<Parameter, Mistake> {
        let mut parameter = Parameter::None;
        let mut after_comma = false;
        let mut angle_depth = 0_u32;
        let mut previous = ' ';
        for token in group.stream() {
            if after_comma {
                return Err(Mistake::at(
                    token.span(),
                    format!("an HTTP handler takes one parameter, the request; {EXPECTED}"),
                ));
            }
            if parameter == Parameter::None {
                parameter = match &token {
                    TokenTree::Ident(word) if word.to_string() == "_" => Parameter::Ignored,
                    TokenTree::Punct(punct) if punct.as_char() == '_' => Parameter::Ignored,
                    _ => Parameter::Taken,
                };
            }
            let mut current = ' ';
            match &token {
                TokenTree::Ident(word) if word.to_string() == "self" => {
                    return Err(Mistake::at(
                        word.span(),
                        format!("an HTTP handler is a free function, not a method; {EXPECTED}"),
                    ));
                }
                TokenTree::Punct(punct) => {
                    current = punct.as_char();
                    match current {
                        '<' => angle_depth += 1,
                        '>' if previous != '-' => angle_depth = angle_depth.saturating_sub(1),
                        ',' if angle_depth == 0 => after_comma = true,
                        _ => {}
                    }
                }
                _ => {}
            }
            previous = current;
        }
        Ok(parameter)
    }

    /// The exports, written by a macro of the SDK that knows its WASI version.
    fn export(&self) -> TokenStream {
        let name = &self.name;
        let (binding, argument) = match self.parameter {
            Parameter::None => ("", ""),
            Parameter::Ignored => ("", "::core::default::Default::default()"),
            Parameter::Taken => ("request", "request"),
        };
        let wait = if self.is_async { ".await" } else { "" };
        let text = format!(
            "const _: () = {{
                ::wharf_sdk::__export_http!(|{binding}| {{
                    let response = __WHARF_HANDLER({argument}){wait};
                    ::wharf_sdk::__private::answer(response)
                }});
            }};"
        );
        let tokens: TokenStream = text.parse().expect("the template is valid Rust");
        rename(tokens, name)
    }
}

/// Puts the handler's own identifier, with its place, into the template: a
/// wrong parameter or result type is then underlined at the function.
fn rename(tokens: TokenStream, name: &Ident) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(word) if word.to_string() == "__WHARF_HANDLER" => {
                TokenTree::Ident(name.clone())
            }
            TokenTree::Group(group) => {
                let mut renamed = Group::new(group.delimiter(), rename(group.stream(), name));
                renamed.set_span(group.span());
                TokenTree::Group(renamed)
            }
            other => other,
        })
        .collect()
}
