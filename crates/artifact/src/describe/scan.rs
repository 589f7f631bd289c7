//! One pass over the binary: sections and their sizes, names at the edge, what is really called.
//!
//! The structure is validated on the way, so that every later step may rely on indices; the
//! bodies of functions are left to [`super::validate`] and to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{
    ComponentAlias, ComponentExternName, ComponentExternalKind, ComponentInstance,
    ComponentTypeRef, CompositeInnerType, CustomSectionReader, Encoding, KnownCustom, Parser,
    Payload, TypeRef, ValidPayload, Validator, WasmFeatures,
};

use super::dependencies::DependencyLists;
use super::{DescribeError, Features, Kind, NESTING_MAX, Size};

/// The function name that stands for "any function of this interface", where the flow of an
/// instance can no longer be followed by name.
pub(super) const ANY_FUNCTION: &str = "*";

/// What one pass over the bytes finds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) kind: Kind,
    pub(super) size: Size,
    pub(super) core_modules: u32,
    pub(super) features: Features,
    pub(super) producers: BTreeMap<String, BTreeSet<String>>,
    pub(super) dependencies: DependencyLists,
    pub(super) imports: Vec<Extern>,
    pub(super) exports: Vec<Extern>,
    /// By interface without its version (a module's name, for core modules): the functions that
    /// something inside really calls.
    pub(super) calls: BTreeMap<String, BTreeSet<String>>,
}

/// One import or export at the outer edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extern {
    /// The module's name; `None` for components and for exports.
    pub(super) module: Option<String>,
    pub(super) name: String,
    /// As people write it: `func(i32) -> i32`, `memory 1..`, `instance`.
    pub(super) ty: String,
}

/// One module or component that is open while the parser is inside it.
#[derive(Default)]
struct Frame {
    /// The component instance index space: the interface an instance was imported as, without
    /// its version, where that is known.
    instances: Vec<Option<String>>,
}

pub(super) fn scan(bytes: &[u8], check_bodies: bool) -> Result<Scan, DescribeError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut allocations = wasmparser::FuncValidatorAllocations::default();
    let mut frames: Vec<Frame> = Vec::new();
    let mut scan = Scan {
        kind: Kind::Module,
        size: Size {
            total: bytes.len() as u64,
            ..Size::default()
        },
        core_modules: 0,
        features: Features::default(),
        producers: BTreeMap::new(),
        dependencies: DependencyLists::default(),
        imports: Vec::new(),
        exports: Vec::new(),
        calls: BTreeMap::new(),
    };

    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) if check_bodies => {
                let mut function = function.into_validator(std::mem::take(&mut allocations));
                function.validate(&body)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(types) if frames.len() == 1 && scan.kind == Kind::Module => {
                scan.read_module_edge(types.as_ref());
            }
            _ => {}
        }
        scan.measure(&payload);
        scan.read(&payload, &mut frames)?;
    }
    scan.size.other = scan.size.total.saturating_sub(scan.size.sum());
    Ok(scan)
}

impl Scan {
    /// Adds the payload's section to the sizes.
    fn measure(&mut self, payload: &Payload<'_>) {
        // The insides of nested modules and components are measured as they come.
        if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
            return;
        }
        let Some((_, range)) = payload.as_section() else {
            return;
        };
        let bytes = (range.end - range.start) as u64;
        if let Payload::CustomSection(section) = payload {
            *self
                .size
                .custom
                .entry(section.name().to_owned())
                .or_default() += bytes;
            return;
        }
        let part = match payload {
            Payload::CodeSectionStart { .. } => &mut self.size.code,
            Payload::DataSection(_) => &mut self.size.data,
            Payload::TypeSection(_) => &mut self.size.types,
            Payload::ImportSection(_) | Payload::ExportSection(_) => &mut self.size.names,
            Payload::FunctionSection(_)
            | Payload::TableSection(_)
            | Payload::MemorySection(_)
            | Payload::TagSection(_)
            | Payload::GlobalSection(_)
            | Payload::StartSection { .. }
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. } => &mut self.size.tables,
            _ => &mut self.size.component,
        };
        *part += bytes;
    }

    fn read(
        &mut self,
        payload: &Payload<'_>,
        frames: &mut Vec<Frame>,
    ) -> Result<(), DescribeError> {
        match payload {
            Payload::Version {
                encoding, range, ..
            } => self.open(*encoding, range, frames)?,
            Payload::End(_) => drop(frames.pop()),
            Payload::TypeSection(types) => {
                for group in types.clone() {
                    for ty in group?.types() {
                        self.features.gc |=
                            !matches!(ty.composite_type.inner, CompositeInnerType::Func(_));
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    match import.ty {
                        TypeRef::Memory(memory) => self.note_memory(memory),
                        TypeRef::Tag(_) => self.features.exceptions = true,
                        _ => {}
                    }
                    self.features.threads |=
                        (import.module, import.name) == ("wasi", "thread-spawn");
                    if frames.len() == 1
                        && matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
                    {
                        self.note_call(import.module, import.name);
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.note_memory(memory?);
                }
            }
            Payload::TagSection(_) => self.features.exceptions = true,
            Payload::CustomSection(section) => self.read_custom(section),
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    let name = full_name(&import.name);
                    if let (ComponentTypeRef::Instance(_), Some(frame)) =
                        (import.ty, frames.last_mut())
                    {
                        frame
                            .instances
                            .push(Some(without_version(&name).to_owned()));
                    }
                    if frames.len() == 1 {
                        self.imports
                            .push(Extern::of_component(name, import.ty.kind()));
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if let (ComponentExternalKind::Instance, Some(frame)) =
                        (export.kind, frames.last_mut())
                    {
                        let same = frame
                            .instances
                            .get(export.index as usize)
                            .cloned()
                            .flatten();
                        frame.instances.push(same);
                    }
                    if frames.len() == 1 {
                        self.exports
                            .push(Extern::of_component(full_name(&export.name), export.kind));
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.read_alias(&alias?, frames);
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    self.read_instance(&instance?, frames);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        encoding: Encoding,
        range: &Range<usize>,
        frames: &mut Vec<Frame>,
    ) -> Result<(), DescribeError> {
        let kind = match encoding {
            Encoding::Module => Kind::Module,
            Encoding::Component => Kind::Component,
        };
        if frames.len() == NESTING_MAX {
            return Err(DescribeError::TooDeep {
                offset: range.start as u64,
            });
        }
        if frames.is_empty() {
            self.kind = kind;
        }
        self.core_modules += u32::from(kind == Kind::Module);
        frames.push(Frame::default());
        Ok(())
    }

    /// Whoever takes a function out of an imported instance means to call it, or to hand it to
    /// something inside that does.
    fn read_alias(&mut self, alias: &ComponentAlias<'_>, frames: &mut [Frame]) {
        let ComponentAlias::InstanceExport {
            kind,
            instance_index,
            name,
        } = alias
        else {
            return;
        };
        let Some(frame) = frames.last_mut() else {
            return;
        };
        let interface = frame
            .instances
            .get(*instance_index as usize)
            .cloned()
            .flatten();
        match kind {
            ComponentExternalKind::Func => {
                if let Some(interface) = interface {
                    self.note_call(&interface, name);
                }
            }
            ComponentExternalKind::Instance => {
                if let Some(interface) = interface {
                    self.note_call(&interface, ANY_FUNCTION);
                }
                frame.instances.push(None);
            }
            _ => {}
        }
    }

    /// An imported instance that goes to a nested component under its own name is followed
    /// there; under another name, or inside another instance, it counts as fully called.
    fn read_instance(&mut self, instance: &ComponentInstance<'_>, frames: &mut [Frame]) {
        let Some(frame) = frames.last_mut() else {
            return;
        };
        let mut escaped = Vec::new();
        let mut follow = |index: u32, name: Option<&str>| {
            if let Some(Some(interface)) = frame.instances.get(index as usize)
                && name.map(without_version) != Some(interface)
            {
                escaped.push(interface.clone());
            }
        };
        match instance {
            ComponentInstance::Instantiate { args, .. } => {
                for arg in args
                    .iter()
                    .filter(|arg| arg.kind == ComponentExternalKind::Instance)
                {
                    follow(arg.index, Some(arg.name));
                }
            }
            ComponentInstance::FromExports(exports) => {
                for export in exports
                    .iter()
                    .filter(|e| e.kind == ComponentExternalKind::Instance)
                {
                    follow(export.index, None);
                }
            }
        }
        frame.instances.push(None);
        for interface in escaped {
            self.note_call(&interface, ANY_FUNCTION);
        }
    }

    fn note_call(&mut self, interface: &str, function: &str) {
        match self.calls.get_mut(interface) {
            Some(functions) => drop(functions.insert(function.to_owned())),
            None => {
                let functions = BTreeSet::from([function.to_owned()]);
                self.calls.insert(interface.to_owned(), functions);
            }
        }
    }

    fn note_memory(&mut self, memory: wasmparser::MemoryType) {
        self.features.memory64 |= memory.memory64;
        self.features.threads |= memory.shared;
    }

    /// Custom sections hold no meaning for execution: a broken one is passed over, not an error.
    fn read_custom(&mut self, section: &CustomSectionReader<'_>) {
        if section.name() == ".dep-v0" {
            self.dependencies.read(section.data());
        } else if let KnownCustom::Producers(fields) = section.as_known() {
            for field in fields.into_iter().flatten() {
                let values = self.producers.entry(field.name.to_owned()).or_default();
                for value in field.values.into_iter().flatten() {
                    values.insert(
                        format!("{} {}", value.name, value.version)
                            .trim_end()
                            .to_owned(),
                    );
                }
            }
        }
    }

    fn read_module_edge(&mut self, types: TypesRef<'_>) {
        self.imports = types
            .core_imports()
            .into_iter()
            .flatten()
            .map(|(module, name, ty)| Extern {
                module: Some(module.to_owned()),
                name: name.to_owned(),
                ty: core_type(types, ty),
            })
            .collect();
        self.exports = types
            .core_exports()
            .into_iter()
            .flatten()
            .map(|(name, ty)| Extern {
                module: None,
                name: name.to_owned(),
                ty: core_type(types, ty),
            })
            .collect();
    }
}

impl Extern {
    fn of_component(name: String, kind: ComponentExternalKind) -> Self {
        let ty = match kind {
            ComponentExternalKind::Module => "core module",
            ComponentExternalKind::Func => "func",
            ComponentExternalKind::Value => "value",
            ComponentExternalKind::Type => "type",
            ComponentExternalKind::Instance => "instance",
            ComponentExternalKind::Component => "component",
        };
        Self {
            module: None,
            name,
            ty: ty.to_owned(),
        }
    }
}

/// The name as it was written, with the version put together again where the binary splits it.
fn full_name(name: &ComponentExternName<'_>) -> String {
    match name.version_suffix {
        Some(suffix) => format!("{}{suffix}", name.name),
        None => name.name.to_owned(),
    }
}

/// `wasi:http/types` of `wasi:http/types@0.2.6`.
pub(super) fn without_version(name: &str) -> &str {
    name.split_once('@')
        .map_or(name, |(interface, _)| interface)
}

fn core_type(types: TypesRef<'_>, ty: EntityType) -> String {
    match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => {
            let CompositeInnerType::Func(func) = &types[id].composite_type.inner else {
                return "func".to_owned();
            };
            let list = |types: &[wasmparser::ValType]| {
                types
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            match func.results() {
                [] => format!("func({})", list(func.params())),
                [one] => format!("func({}) -> {one}", list(func.params())),
                many => format!("func({}) -> ({})", list(func.params()), list(many)),
            }
        }
        EntityType::Table(table) => {
            format!(
                "table {} {}",
                limits(table.initial, table.maximum),
                table.element_type
            )
        }
        EntityType::Memory(memory) => format!(
            "memory {}{}{}",
            limits(memory.initial, memory.maximum),
            if memory.memory64 { " 64-bit" } else { "" },
            if memory.shared { " shared" } else { "" },
        ),
        EntityType::Global(global) => {
            format!(
                "global {}{}",
                if global.mutable { "mut " } else { "" },
                global.content_type
            )
        }
        EntityType::Tag(_) => "tag".to_owned(),
    }
}

fn limits(initial: u64, maximum: Option<u64>) -> String {
    match maximum {
        Some(maximum) => format!("{initial}..={maximum}"),
        None => format!("{initial}.."),
    }
}
