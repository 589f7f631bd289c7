//! How much of the engine's pool one instance of a component takes.
//!
//! Wasmtime tells of memories and tables. It does not tell of stacks: each component instance
//! that waits in a call without `async` keeps one, and a component may have hundreds inside. So
//! they are counted in the binary.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, Parser, Payload,
};

/// Memories of the pool for each instance.
pub(crate) const MEMORIES_EACH: u32 = 2;
/// Tables of the pool for each instance.
pub(crate) const TABLES_EACH: u32 = 4;
/// Stacks of the pool for each instance: one that waits, and one that works meanwhile.
pub(crate) const STACKS_EACH: u32 = 2;

/// What a component is taken for if nobody can tell.
const UNKNOWN: u32 = 200;

/// Bytes that a guest can make of one stack, which is the engine's limit, and what calls of the
/// host below it take.
const STACK_BYTES: u64 = (512 + 64) << 10;

/// What one instance of a component takes of what all share, beside the bytes of its memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Instances' places in the pool.
    pub places: u64,
    /// Stacks that it can use at once, each of which stays as large as it ever was until the
    /// instance ends.
    pub stacks: u64,
}

impl Footprint {
    /// The footprint of `component`, whose binary is `wasm`.
    pub fn of(component: &wasmtime::component::Component, wasm: &[u8]) -> Footprint {
        let stacks = Waiting::of(wasm).stacks();
        let (memories, tables) = component
            .resources_required()
            .map_or((0, 0), |needed| (needed.num_memories, needed.num_tables));
        let places = memories
            .div_ceil(MEMORIES_EACH)
            .max(tables.div_ceil(TABLES_EACH))
            .max(stacks.div_ceil(STACKS_EACH));
        Footprint {
            places: u64::from(places.max(1)),
            stacks: u64::from(stacks),
        }
    }

    /// Bytes that its stacks may come to.
    pub fn stack_bytes(self) -> u64 {
        self.stacks.saturating_mul(STACK_BYTES)
    }
}

/// Who may wait in a call at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    /// Component instances that somebody can call.
    instances: u32,
    /// One may be called while another waits.
    is_async: bool,
}

impl Waiting {
    fn of(wasm: &[u8]) -> Waiting {
        count(wasm).unwrap_or(Waiting {
            instances: UNKNOWN,
            is_async: true,
        })
    }

    fn stacks(self) -> u32 {
        match self.is_async {
            // One waits for the other, on the same stack.
            false => 1,
            true => self.instances.saturating_add(1),
        }
    }
}

/// A component or module that the parser is inside of.
#[derive(Default)]
struct Frame {
    is_component: bool,
    /// What an instance of each component comes to, by index.
    components: Vec<u32>,
    /// It lifts functions of its own.
    lifts: bool,
    inside: u32,
}

fn count(wasm: &[u8]) -> Option<Waiting> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut is_async = false;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::Version { encoding, .. } => frames.push(Frame {
                is_component: encoding == Encoding::Component,
                ..Frame::default()
            }),
            Payload::End(_) => {
                let ended = frames.pop()?;
                let comes_to = ended.inside.saturating_add(u32::from(ended.lifts));
                let Some(outer) = frames.last_mut() else {
                    return Some(Waiting {
                        instances: comes_to,
                        is_async,
                    });
                };
                if ended.is_component {
                    outer.components.push(comes_to);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    let function = function.ok()?;
                    if let CanonicalFunction::Lift { options, .. }
                    | CanonicalFunction::Lower { options, .. } = &function
                    {
                        is_async |= options.contains(&CanonicalOption::Async);
                    }
                    if let CanonicalFunction::Lift { .. } = function {
                        frames.last_mut()?.lifts = true;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                let frame = frames.last_mut()?;
                for instance in section {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance.ok()?
                    {
                        let comes_to = frame.components.get(component_index as usize)?;
                        frame.inside = frame.inside.saturating_add(*comes_to);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                let frame = frames.last_mut()?;
                for import in section {
                    if let ComponentTypeRef::Component(_) = import.ok()?.ty {
                        frame.components.push(UNKNOWN);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let component = match alias.ok()? {
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Component,
                            ..
                        } => UNKNOWN,
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => {
                            let outer = frames.iter().rev().nth(count as usize)?;
                            *outer.components.get(index as usize)?
                        }
                        _ => continue,
                    };
                    frames.last_mut()?.components.push(component);
                }
            }
            Payload::ComponentExportSection(section) => {
                let frame = frames.last_mut()?;
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ComponentExternalKind::Component {
                        let same = *frame.components.get(export.index as usize)?;
                        frame.components.push(same);
                    }
                }
            }
            _ => {}
        }
    }
    None
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
            Waiting::of(&wat::parse_str(format!("(component {inside})")).unwrap()).instances
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
        assert_eq!(waiting(&unknown), UNKNOWN);
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
        let wasm = wat::parse_str("(component (component))").unwrap();
        let much = UNKNOWN + 1;
        assert_eq!(Waiting::of(&wasm[..wasm.len() - 1]).stacks(), much);
        assert_eq!(Waiting::of(b"no wasm").stacks(), much);
        assert_eq!(Waiting::of(b"").stacks(), much);
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
            let Footprint { places, stacks } = Footprint::of(&component, &wasm);
            assert_eq!(stacks, count as u64 + 2);
            assert!(fits(places, &inside), "{count} in {places}");
            if count > 2 {
                assert!(!fits(places / 2, &inside), "{count} in half of {places}");
            }
        }
    }
}
