//! `--invoke`: a call written in WAVE, made on a component or a core module.

use std::ops::Range;

use wasm_wave::parser::ParserError;
use wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentExportIndex, Instance, Val};
use wasmtime::{Store, ValType};
use wharf_engine::{Fault, FaultKind};

use crate::pointer::point_at;
use crate::program::Program;
use crate::state::InstanceState;

/// A call that cannot be made, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The text is no call.
    #[error("cannot read the call: {message}")]
    Syntax {
        /// What is wrong with it, and where.
        message: String,
    },
    /// There is no such function.
    #[error("there is no exported function `{name}`; there is {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The functions that exist.
        known: String,
    },
    /// The arguments do not fit.
    #[error("the arguments do not fit `{signature}`: {message}")]
    Arguments {
        /// The function with its types.
        signature: String,
        /// What does not fit, and where.
        message: String,
    },
    /// The call itself failed.
    #[error("{0:#}")]
    Failed(wasmtime::Error),
}

impl InvokeError {
    pub(crate) fn into_fault(self) -> Fault {
        let hint = match &self {
            InvokeError::Syntax { .. } => Some(
                "write it as `name(1, \"text\", [1, 2], {field: true})`, in quotes for the shell",
            ),
            InvokeError::Unknown { .. } => Some("`wharf inspect` shows its exports"),
            InvokeError::Arguments { .. } | InvokeError::Failed(_) => None,
        };
        let fault = Fault::new(FaultKind::User, self.to_string());
        match hint {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }
}

fn parse(call: &str) -> Result<UntypedFuncCall<'_>, InvokeError> {
    UntypedFuncCall::parse(call).map_err(|error| InvokeError::Syntax {
        message: located(&error, call),
    })
}

/// What is wrong, shown in the call.
fn located(error: &ParserError, call: &str) -> String {
    let (text, span) = (error.to_string(), error.span());
    let offsets = format!(" at {}..{}", span.start, span.end);
    let what = text.strip_suffix(&offsets).unwrap_or(&text);
    point_at(what, call, span)
}

/// One exported function: where it lies, and what people call it.
struct Exported {
    /// `name` or `interface#name`.
    label: String,
    name: String,
    index: ComponentExportIndex,
}

fn exported_functions(program: &Program) -> Vec<Exported> {
    let component = program.pre().component();
    let engine = component.engine();
    let mut functions = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        let Some(index) = component.get_export_index(None, name) else {
            continue;
        };
        match item.ty {
            ComponentItem::ComponentFunc(_) => functions.push(Exported {
                label: name.to_owned(),
                name: name.to_owned(),
                index,
            }),
            ComponentItem::ComponentInstance(instance) => {
                for (inner, item) in instance.exports(engine) {
                    if !matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                        continue;
                    }
                    if let Some(index) = component.get_export_index(Some(&index), inner) {
                        functions.push(Exported {
                            label: format!("{name}#{inner}"),
                            name: inner.to_owned(),
                            index,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    functions
}

/// Makes `call` on an instance of `program`; returns the result in WAVE (empty if it has none).
///
/// A function of an interface may be called by its bare name where only one has it.
///
/// # Errors
/// See [`InvokeError`].
pub(crate) async fn invoke_component(
    store: &mut Store<InstanceState>,
    program: &Program,
    instance: &Instance,
    call: &str,
) -> Result<String, InvokeError> {
    let text = call;
    let call = parse(text)?;
    let functions = exported_functions(program);
    let matching: Vec<_> = functions
        .iter()
        .filter(|function| function.name == call.name() || function.label == call.name())
        .collect();
    let [function] = matching[..] else {
        let labels: Vec<_> = if matching.is_empty() {
            functions.iter().collect()
        } else {
            matching
        };
        let known = labels
            .iter()
            .map(|function| format!("`{}`", function.label))
            .collect::<Vec<_>>();
        return Err(InvokeError::Unknown {
            name: call.name().to_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        });
    };
    let func = instance
        .get_func(&mut *store, function.index)
        .expect("the export is a function");
    let ty = func.ty(&*store);
    let params: Vec<_> = ty.params().map(|(_, ty)| ty).collect();
    let values: Vec<Val> =
        call.to_wasm_params(params.iter())
            .map_err(|error| InvokeError::Arguments {
                signature: format!(
                    "{}({})",
                    function.name,
                    params.iter().map(describe).collect::<Vec<_>>().join(", ")
                ),
                message: located(&error, text),
            })?;
    let mut results = vec![Val::Bool(false); ty.results().len()];
    func.call_async(&mut *store, &values, &mut results)
        .await
        .map_err(InvokeError::Failed)?;
    results
        .iter()
        .map(|value| {
            wasm_wave::to_string(value).map_err(|error| InvokeError::Arguments {
                signature: function.label.clone(),
                message: format!("its result cannot be written: {error}"),
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(|texts| texts.join(", "))
}

fn describe(ty: &wasmtime::component::Type) -> String {
    wasm_wave::wasm::DisplayType(ty).to_string()
}

/// The same on a core module, whose values are numbers.
pub(crate) fn invoke_module<S: 'static>(
    store: &mut Store<S>,
    instance: &wasmtime::Instance,
    call: &str,
) -> Result<String, InvokeError> {
    let parsed = parse(call)?;
    let name = parsed.name();
    let Some(func) = instance.get_func(&mut *store, name) else {
        let known: Vec<_> = instance
            .exports(&mut *store)
            .filter_map(|export| {
                let name = export.name().to_owned();
                export.into_func().map(|_| format!("`{name}`"))
            })
            .collect();
        return Err(InvokeError::Unknown {
            name: name.to_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        });
    };
    let ty = func.ty(&*store);
    let signature = format!("{name}{}", signature_of(&ty));
    let misfit = |message: String| InvokeError::Arguments {
        signature: signature.clone(),
        message,
    };
    let texts = core_arguments(call);
    if texts.len() != ty.params().len() {
        return Err(misfit(format!(
            "it takes {}, {} given",
            ty.params().len(),
            texts.len()
        )));
    }
    let values = ty
        .params()
        .zip(&texts)
        .map(|(ty, text)| {
            core_value(&ty, text).ok_or_else(|| {
                misfit(point_at(
                    &format!("`{text}` is no {ty}"),
                    call,
                    span_of(text, call),
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut results: Vec<_> = ty.results().map(|_| wasmtime::Val::I32(0)).collect();
    func.call(&mut *store, &values, &mut results)
        .map_err(InvokeError::Failed)?;
    Ok(results.iter().map(core_text).collect::<Vec<_>>().join(", "))
}

/// The numbers in a call that has been read.
fn core_arguments(call: &str) -> Vec<&str> {
    let open = call.find('(').unwrap_or(call.len());
    let inside = call[open..]
        .trim()
        .trim_start_matches('(')
        .trim_end_matches(')');
    let texts = inside.split(',').map(str::trim);
    texts.filter(|text| !text.is_empty()).collect()
}

/// Where `part`, which is a part of `call`, lies in it.
fn span_of(part: &str, call: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - call.as_ptr().addr();
    start..start + part.len()
}

fn signature_of(ty: &wasmtime::FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types
            .map(|ty| ty.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "({}) -> ({})",
        list(&mut ty.params()),
        list(&mut ty.results())
    )
}

fn core_value(ty: &ValType, text: &str) -> Option<wasmtime::Val> {
    Some(match ty {
        ValType::I32 => wasmtime::Val::I32(
            text.parse::<i32>()
                .ok()
                .or_else(|| text.parse::<u32>().ok().map(u32::cast_signed))?,
        ),
        ValType::I64 => wasmtime::Val::I64(
            text.parse::<i64>()
                .ok()
                .or_else(|| text.parse::<u64>().ok().map(u64::cast_signed))?,
        ),
        ValType::F32 => wasmtime::Val::F32(text.parse::<f32>().ok()?.to_bits()),
        ValType::F64 => wasmtime::Val::F64(text.parse::<f64>().ok()?.to_bits()),
        _ => return None,
    })
}

fn core_text(value: &wasmtime::Val) -> String {
    match value {
        wasmtime::Val::I32(value) => value.to_string(),
        wasmtime::Val::I64(value) => value.to_string(),
        wasmtime::Val::F32(bits) => f32::from_bits(*bits).to_string(),
        wasmtime::Val::F64(bits) => f64::from_bits(*bits).to_string(),
        other => format!("{other:?}"),
    }
}

/// Here, as it looks at what no other module sees.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz {
    use wharf_fuzzkit::texts;

    use super::*;

    /// A call, as somebody types it.
    pub(crate) fn call(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        match parse(text) {
            Ok(call) => {
                let printed = call.to_string();
                let again = parse(&printed).expect("what is printed can be read");
                assert_eq!(again.name(), call.name());
                assert_eq!(again.to_string(), printed);
            }
            // The terminal gets a line of the text, not all of it, and no control character.
            Err(error) => {
                let message = error.to_string();
                assert!(message.len() < 2048, "{} bytes", message.len());
                assert!(
                    !message.contains(|c: char| c.is_control() && c != '\n'),
                    "{message:?}"
                );
            }
        }
        for part in core_arguments(text) {
            assert_eq!(&text[span_of(part, text)], part);
            for ty in [ValType::I32, ValType::I64, ValType::F32, ValType::F64] {
                if let Some(value) = core_value(&ty, part) {
                    let printed = core_text(&value);
                    let again = core_value(&ty, &printed).expect("what is printed can be read");
                    assert_eq!(core_text(&again), printed, "{part}");
                }
            }
        }
    }

    pub(crate) fn seeds() -> Vec<Vec<u8>> {
        texts(&[
            "add(1, 2)",
            "f(-1, 4294967295, 1.5, nan, -inf)",
            "g(\"a \\u{1b} text\", [1, 2], {field: true, other: none}, some(ok('x')))",
            "h((1, \"b\"), {a, b}, variant(1))",
            "%name(",
            "f(\"\"\"\n  many\n  lines\n  \"\"\")",
        ])
    }
}
