//! How much of what all guests share one instance of a component takes.
//!
//! Wasmtime tells of memories and tables. It does not tell of stacks: each component instance
//! that waits in a call without `async` keeps one, and a component may have hundreds inside; nor
//! of what it keeps for functions and globals. So they are counted in the binary.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, Instance, Parser, Payload,
};

/// Memories of the pool for each instance.
pub(crate) const MEMORIES_EACH: u32 = 2;
/// Tables of the pool for each instance.
pub(crate) const TABLES_EACH: u32 = 4;
/// Stacks of the pool for each instance: one that waits, and one that works meanwhile.
pub(crate) const STACKS_EACH: u32 = 2;
/// Bytes that the engine may keep of one instance's functions, globals and the like: it refuses
/// components that need more.
pub(crate) const INSTANCE_BYTES_MAX: usize = 4 << 20;

/// Bytes that a guest can make of one stack, which is the engine's limit, and what calls of the
/// host below it take.
const STACK_BYTES: u64 = (512 + 64) << 10;

/// Bytes of one handle: its place in the tables, and what it stands for, a timer or a task. What is
/// larger is charged by itself.
const HANDLE_BYTES: u64 = 768;

/// Bytes of an instance of a module that has nothing.
const MODULE_BYTES: u64 = 1 << 10;
/// Bytes for each function, table, memory or segment: what is imported, exported or called by
/// reference is a few pointers, and more is not known of it here.
const ITEM_BYTES: u64 = 32;
/// Bytes for each global.
const GLOBAL_BYTES: u64 = 16;
/// Bytes for each tag of exceptions.
const TAG_BYTES: u64 = 4;

/// What one instance of a component takes of what all share, beside the bytes of its memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Instances' places in the pool.
    pub places: u64,
    /// Bytes that its stacks may come to, each of which stays as large as it ever was until the
    /// instance ends, and that the engine keeps of its functions and globals, at most.
    pub bytes: u64,
}

/// Bytes that so many open handles may come to.
pub fn handle_bytes(handles: u32) -> u64 {
    u64::from(handles) * HANDLE_BYTES
}

impl Footprint {
    /// The footprint of `component`, whose binary is `wasm`.
    pub fn of(component: &wasmtime::component::Component, wasm: &[u8]) -> Footprint {
        let (size, stacks) = match read(wasm) {
            Some(Read { size, is_async }) => (size, size.stacks(is_async)),
            None => (Size::MOST, Size::MOST.stacks(true)),
        };
        let (memories, tables) = component
            .resources_required()
            .map_or((0, 0), |needed| (needed.num_memories, needed.num_tables));
        let places = memories
            .div_ceil(MEMORIES_EACH)
            .max(tables.div_ceil(TABLES_EACH))
            .max(stacks.div_ceil(STACKS_EACH));
        Footprint {
            places: u64::from(places.max(1)),
            bytes: u64::from(stacks) * STACK_BYTES + size.bytes.min(Size::MOST.bytes),
        }
    }
}

/// What an instance of a component or module comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Size {
    /// Component instances that somebody can call: each may wait.
    callable: u32,
    /// Bytes that the engine keeps of functions and globals.
    bytes: u64,
}

impl Size {
    /// What is taken for the size of something of which nobody can tell.
    const MOST: Size = Size {
        callable: 200,
        bytes: INSTANCE_BYTES_MAX as u64,
    };

    fn add(&mut self, other: Size) {
        self.callable = self.callable.saturating_add(other.callable);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn has(&mut self, count: u32, bytes_each: u64) {
        self.bytes = self.bytes.saturating_add(u64::from(count) * bytes_each);
    }

    fn stacks(self, is_async: bool) -> u32 {
        match is_async {
            // One waits for the other, on the same stack.
            false => 1,
            true => self.callable.saturating_add(1),
        }
    }
}

/// A component or module that the parser is inside of.
struct Frame {
    is_component: bool,
    /// By index, what an instance of each module and component comes to.
    modules: Vec<Size>,
    components: Vec<Size>,
    /// What one of this comes to, as far as it was read.
    size: Size,
}

impl Frame {
    fn new(encoding: Encoding) -> Frame {
        let bytes = match encoding {
            Encoding::Module => MODULE_BYTES,
            Encoding::Component => 0,
        };
        Frame {
            is_component: encoding == Encoding::Component,
            modules: Vec::new(),
            components: Vec::new(),
            size: Size { callable: 0, bytes },
        }
    }

    /// The index space of modules or components; others are of no interest.
    fn space(&mut self, kind: ComponentExternalKind) -> Option<&mut Vec<Size>> {
        match kind {
            ComponentExternalKind::Module => Some(&mut self.modules),
            ComponentExternalKind::Component => Some(&mut self.components),
            _ => None,
        }
    }
}

struct Read {
    size: Size,
    /// One part may be called while another waits.
    is_async: bool,
}

/// Reads the binary once. `None` if it cannot be read.
fn read(wasm: &[u8]) -> Option<Read> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut is_async = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.ok()?;
        match &payload {
            Payload::Version { encoding, .. } => frames.push(Frame::new(*encoding)),
            Payload::End(_) => {
                let ended = frames.pop()?;
                let size = ended.size;
                let Some(outer) = frames.last_mut() else {
                    return Some(Read { size, is_async });
                };
                match ended.is_component {
                    true => outer.components.push(size),
                    false => outer.modules.push(size),
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    let (kind, size) = match alias.ok()? {
                        ComponentAlias::InstanceExport { kind, .. } => (kind, Size::MOST),
                        ComponentAlias::Outer { kind, count, index } => {
                            let kind = match kind {
                                ComponentOuterAliasKind::CoreModule => {
                                    ComponentExternalKind::Module
                                }
                                ComponentOuterAliasKind::Component => {
                                    ComponentExternalKind::Component
                                }
                                _ => continue,
                            };
                            let outer = frames.iter_mut().rev().nth(count as usize)?;
                            (kind, *outer.space(kind)?.get(index as usize)?)
                        }
                        ComponentAlias::CoreInstanceExport { .. } => continue,
                    };
                    if let Some(space) = frames.last_mut()?.space(kind) {
                        space.push(size);
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                let frame = frames.last_mut()?;
                for function in section.clone() {
                    match function.ok()? {
                        CanonicalFunction::Lift { options, .. } => {
                            is_async |= options.contains(&CanonicalOption::Async);
                            frame.size.callable = frame.size.callable.max(1);
                        }
                        CanonicalFunction::Lower { options, .. } => {
                            is_async |= options.contains(&CanonicalOption::Async);
                        }
                        _ => {}
                    }
                }
                frame.size.has(section.count(), ITEM_BYTES);
            }
            _ => part(frames.last_mut()?, &payload)?,
        }
    }
    None
}

/// Counts a section of the component or module.
fn part(frame: &mut Frame, payload: &Payload<'_>) -> Option<()> {
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section.clone() {
                if let Instance::Instantiate { module_index, .. } = instance.ok()? {
                    frame.size.add(*frame.modules.get(module_index as usize)?);
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section.clone() {
                if let ComponentInstance::Instantiate {
                    component_index, ..
                } = instance.ok()?
                {
                    let size = *frame.components.get(component_index as usize)?;
                    frame.size.add(size);
                }
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section.clone() {
                match import.ok()?.ty {
                    ComponentTypeRef::Module(_) => frame.modules.push(Size::MOST),
                    ComponentTypeRef::Component(_) => frame.components.push(Size::MOST),
                    _ => {}
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone() {
                let export = export.ok()?;
                if let Some(space) = frame.space(export.kind) {
                    let same = *space.get(export.index as usize)?;
                    space.push(same);
                }
            }
        }
        Payload::ImportSection(section) => {
            // A group of imports counts once.
            let count = section.clone().into_imports().count();
            frame.size.has(u32::try_from(count).ok()?, ITEM_BYTES);
        }
        Payload::FunctionSection(section) => frame.size.has(section.count(), ITEM_BYTES),
        Payload::TableSection(section) => frame.size.has(section.count(), ITEM_BYTES),
        Payload::MemorySection(section) => frame.size.has(section.count(), ITEM_BYTES),
        Payload::ElementSection(section) => frame.size.has(section.count(), ITEM_BYTES),
        Payload::DataSection(section) => frame.size.has(section.count(), ITEM_BYTES),
        Payload::TagSection(section) => frame.size.has(section.count(), TAG_BYTES),
        Payload::GlobalSection(section) => frame.size.has(section.count(), GLOBAL_BYTES),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Waker};

    use wasmtime::Store;
    use wasmtime::component::{Component, Linker};

    use super::*;
    use crate::{Engine, EngineOptions, PoolSize};

    fn component(engine: &Engine, inside: &str) -> (Component, Vec<u8>) {
        let wasm = wat::parse_str(format!("(component {inside})")).unwrap();
        let component = Component::new(engine.wasmtime(), &wasm);
        (component.unwrap(), wasm)
    }

    #[test]
    fn a_component_of_many_memories_takes_many_places() {
        let engine = Engine::new(EngineOptions::serve()).unwrap();
        let places = |inside: &str| {
            let (component, wasm) = component(&engine, inside);
            Footprint::of(&component, &wasm).places
        };
        assert_eq!(places(""), 1);
        let module = "(core module $m (memory 0) (table 0 funcref))";
        let instances = |count: usize| "(core instance (instantiate $m))".repeat(count);
        assert_eq!(places(&format!("{module} {}", instances(2))), 1);
        assert_eq!(places(&format!("{module} {}", instances(3))), 2);
        assert_eq!(places(&format!("{module} {}", instances(99))), 50);
    }

    #[test]
    fn what_may_wait_is_counted_through_all_levels() {
        let waiting = |inside: &str| {
            let wasm = wat::parse_str(format!("(component {inside})")).unwrap();
            read(&wasm).unwrap().size.callable
        };
        let lifts = "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
             (func $f (canon lift (core func $i \"f\")))";
        assert_eq!(waiting(""), 0);
        assert_eq!(waiting(lifts), 1);
        let one = format!("(component $one {lifts})");
        assert_eq!(waiting(&one), 0, "nobody instantiates it");
        let twice = "(instance (instantiate $one)) (instance (instantiate $one))";
        assert_eq!(waiting(&format!("{lifts} {one} {twice}")), 3);
        let two = format!("(component $two (alias outer 1 $one (component $one)) {twice})");
        let four = "(instance (instantiate $two)) (instance (instantiate $two))";
        assert_eq!(waiting(&format!("{one} {two} {four}")), 4);
        let exported = format!("{one} (export $same \"same\" (component $one)) {twice}");
        assert_eq!(waiting(&exported), 2);
        let given = "(component $any (import \"c\" (component $c)) (instance (instantiate $c)))";
        let unknown =
            format!("{one} {given} (instance (instantiate $any (with \"c\" (component $one))))");
        assert_eq!(waiting(&unknown), Size::MOST.callable);
        let mut bomb = one;
        for level in 0..40 {
            let (inner, outer) = match level {
                0 => ("one".to_owned(), "c0".to_owned()),
                _ => (format!("c{}", level - 1), format!("c{level}")),
            };
            let inside = format!("(instance (instantiate ${inner}))").repeat(9);
            bomb += &format!(
                "(component ${outer} (alias outer 1 ${inner} (component ${inner})) {inside})"
            );
        }
        assert_eq!(
            waiting(&format!("{bomb} (instance (instantiate $c39))")),
            u32::MAX
        );
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_much() {
        let engine = Engine::new(EngineOptions::serve()).unwrap();
        let (component, wasm) = component(&engine, "(component)");
        for wasm in [&wasm[..wasm.len() - 1], b"no wasm", b""] {
            assert_eq!(Footprint::of(&component, wasm).places, 101);
        }
        assert_eq!(Footprint::of(&component, &wasm).places, 1);
    }

    /// The engine says what it needs where that is too much.
    #[test]
    fn at_least_as_much_is_counted_as_the_engine_keeps() {
        let module = |inside: &str| format!("(core module $m {inside})");
        let many = |item: &str| module(&item.repeat(20_000));
        let named: String = (0..20_000)
            .map(|n| format!("(func (export \"f{n}\"))"))
            .collect();
        let cases = [
            many("(global (mut i64) (i64.const 1))"),
            many("(tag)"),
            module(&named),
        ];
        let engine = Engine::new(EngineOptions::serve()).unwrap();
        for case in &cases {
            let inside = format!("{case} {}", "(core instance (instantiate $m))".repeat(190));
            let wasm = wat::parse_str(format!("(component {inside})")).unwrap();
            let error = Component::new(engine.wasmtime(), &wasm).unwrap_err();
            let text = format!("{error:?}");
            let (_, rest) = text.split_once("requires ").expect(&text);
            let needed: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            let counted = read(&wasm).unwrap().size.bytes;
            assert!(
                needed <= counted && counted <= 3 * needed,
                "{counted} for {needed}"
            );
        }
    }

    /// A component with `count` others inside, all of which wait in a call at once.
    fn all_wait(count: usize) -> String {
        let each = |text: fn(usize) -> String| (0..count).map(text).collect::<String>();
        let lift = "(func (export \"run\") async \
             (canon lift (core func $i \"run\") async (callback (func $i \"callback\"))))";
        let callback = "(func (export \"callback\") (param i32 i32 i32) (result i32) unreachable)";
        let block = "(import \"block\" (func $block async)) \
             (core func $wait (canon lower (func $block)))";
        let inner = format!(
            "(component $inner {block} \
             (core module $m (import \"\" \"wait\" (func $wait)) \
               (func (export \"run\") (result i32) call $wait i32.const 0) {callback}) \
             (core instance $i (instantiate $m (with \"\" (instance (export \"wait\" (func $wait)))))) \
             {lift})"
        );
        let imported = each(|n| {
            format!(
                "(import \"r{n}\" (func $r{n} async)) (core func $c{n} (canon lower (func $r{n}) async))"
            )
        });
        let outer = format!(
            "(component $outer {block} {imported} \
             (core module $m (import \"\" \"wait\" (func $wait)) {} \
               (func (export \"run\") (result i32) {} call $wait i32.const 0) {callback}) \
             (core instance $i (instantiate $m (with \"\" (instance \
               (export \"wait\" (func $wait)) {})))) {lift})",
            each(|n| format!("(import \"\" \"c{n}\" (func $c{n} (result i32)))")),
            each(|n| format!("(drop (call $c{n}))")),
            each(|n| format!("(export \"c{n}\" (func $c{n}))")),
        );
        format!(
            "(import \"block\" (func $block async)) {inner} {outer} {} \
             (instance $o (instantiate $outer (with \"block\" (func $block)) {})) \
             (export \"run\" (func $o \"run\"))",
            each(|n| format!(
                "(instance $i{n} (instantiate $inner (with \"block\" (func $block))))"
            )),
            each(|n| format!("(with \"r{n}\" (func $i{n} \"run\"))")),
        )
    }

    /// Whether one of `component` runs until it waits, with the pool of so many places to itself.
    fn fits(places: u64, inside: &str) -> bool {
        let engine = Engine::new(EngineOptions {
            pool: Some(PoolSize {
                instances: u32::try_from(places).unwrap(),
                ..PoolSize::default()
            }),
            ..EngineOptions::serve()
        });
        let engine = engine.unwrap();
        let (component, _) = component(&engine, inside);
        let mut linker = Linker::<()>::new(engine.wasmtime());
        linker
            .root()
            .func_wrap_concurrent("block", |_, (): ()| {
                Box::pin(std::future::pending::<wasmtime::Result<()>>())
            })
            .unwrap();
        let mut store = Store::new(engine.wasmtime(), ());
        store.set_epoch_deadline(1 << 40);
        let mut run = Box::pin(async {
            let instance = linker.instantiate_async(&mut store, &component).await?;
            let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
            store
                .run_concurrent(async move |store| run.call_concurrent(store, ()).await)
                .await?
        });
        let context = &mut Context::from_waker(Waker::noop());
        // Each poll begins at least one more call.
        (0..1000).all(|_| run.as_mut().poll(context).is_pending())
    }

    #[test]
    fn the_places_of_a_component_have_stacks_for_all_that_waits_in_it() {
        let engine = Engine::new(EngineOptions::serve()).unwrap();
        for count in [0, 1, 2, 21] {
            let inside = all_wait(count);
            let (component, wasm) = component(&engine, &inside);
            let Footprint { places, bytes } = Footprint::of(&component, &wasm);
            assert_eq!(bytes / STACK_BYTES, count as u64 + 2);
            assert!(fits(places, &inside), "{count} in {places}");
            if count > 2 {
                assert!(!fits(places / 2, &inside), "{count} in half of {places}");
            }
        }
    }
}
