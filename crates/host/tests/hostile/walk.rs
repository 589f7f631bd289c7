//! The way of a tenant's bytes through wharf.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use tokio::runtime::{Builder, Runtime};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, GuestTaskId, Linker, Val, types};
use wasmtime::{ExternType, Module, Store, ValType};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiHttpView as _, p3};
use wharf_artifact::describe;
use wharf_engine::{
    CodeCache, CompileLimits, Compiler, CpuAccount, CpuMeter, Engine, EngineOptions, PoolSize,
    SlowLane, StoreLimits,
};
use wharf_host::{
    Authority, CommandIo, Denials, Egress, EgressRules, GuestOutput, Host, HttpHandler,
    InstanceState, OutputStream, Runnable, run_command,
};
use wharf_manifest::{ByteSize, Digest, Grants};

use crate::cases::Case;
use crate::worker::COMPILE;

const CPU: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(3);
const MEMORY: ByteSize = ByteSize(64 << 20);
const HANDLES: usize = 100;
/// Exported functions that are called of one case.
const CALLS_MAX: usize = 6;

pub(crate) struct Walk {
    serving: Host,
    single: Host,
    /// As the host's own, which makes no instances for others.
    linker: Linker<InstanceState>,
    runtime: Runtime,
    lane: SlowLane,
    authority: Authority,
    cache: CodeCache,
    child: Compiler,
}

/// How far a case came: `refused …`, `ended` by a trap or a limit, or `ran`.
type Outcome = String;

impl Walk {
    pub(crate) fn new(code: PathBuf) -> Walk {
        let serve = EngineOptions {
            pool: Some(PoolSize {
                instances: 50,
                ..PoolSize::default()
            }),
            ..EngineOptions::serve()
        };
        let host = |options| Host::new(Engine::new(options).unwrap()).unwrap();
        let helper = std::env::current_exe().unwrap();
        let serving = host(serve);
        let mut linker = Linker::new(serving.engine().wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi::p3::add_to_linker(&mut linker).unwrap();
        wasmtime_wasi_http::p3::add_to_linker(&mut linker).unwrap();
        Walk {
            serving,
            linker,
            single: host(EngineOptions::command()),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            lane: SlowLane::for_this_machine(),
            authority: Authority::new(
                &Grants::default(),
                Path::new("."),
                2,
                &Egress::new(EgressRules::only(Vec::new())),
                None,
                Denials::new(|_| {}),
            )
            .unwrap(),
            cache: CodeCache::new(code, ByteSize(256 << 20), |_| {}),
            child: Compiler::in_child(helper, vec![COMPILE.to_owned()], CompileLimits::default()),
        }
    }

    pub(crate) fn through(&mut self, case: &Case, in_child: bool) -> Outcome {
        let wasm = &case.bytes;
        let described = describe(wasm);
        let host = if case.ends {
            &self.single
        } else {
            &self.serving
        };
        // Nobody provides anything for modules in the serving pool.
        if (case.ends || wasmparser::Parser::is_component(wasm))
            && let Err(error) = host.check_imports(wasm)
        {
            let _ = error.hint();
            return "refused for its imports".to_owned();
        }
        let compiler = match in_child {
            true => self.child.clone(),
            false => Compiler::in_process(),
        };
        let key = Digest::of(wasm);
        let bytes = || Ok(wasm.clone());
        let code = &self.cache;
        if wasmparser::Parser::is_component(wasm) {
            let Ok(component) = code.component(host.engine(), &compiler, &key, bytes) else {
                return "refused when compiled".to_owned();
            };
            assert!(
                described.is_ok(),
                "it compiles, but: {}",
                described.unwrap_err()
            );
            let _ = component.initialize_copy_on_write_image();
            self.component(&component)
        } else {
            let Ok(module) = code.module(host.engine(), &compiler, &key, bytes) else {
                return "refused when compiled".to_owned();
            };
            match case.ends {
                true => self.command(&module),
                false => self.module(&module),
            }
        }
    }

    /// Whether a component that is good answers as it should.
    pub(crate) fn answers(&mut self, wasm: &[u8]) -> Result<(), String> {
        let bytes = || Ok(wasm.to_vec());
        let compiler = Compiler::in_process();
        let engine = self.serving.engine();
        let component = self
            .cache
            .component(engine, &compiler, &Digest::of(wasm), bytes)
            .map_err(|error| error.to_string())?;
        match self.component(&component).as_str() {
            "ran" => Ok(()),
            other => Err(other.to_owned()),
        }
    }

    fn limits(&self) -> (StoreLimits, CpuMeter) {
        let meter = CpuMeter::new(CPU, self.lane.clone(), CpuAccount::default());
        let limits = StoreLimits::new(MEMORY, HANDLES, meter.clone(), None);
        (limits, meter)
    }

    /// Polls under the meter, for as long as a request may take.
    fn run(
        &self,
        work: impl AsyncFnOnce(&mut Store<InstanceState>) -> wasmtime::Result<()>,
    ) -> Outcome {
        let (limits, meter) = self.limits();
        let state = InstanceState::new(&self.authority, limits, Arc::new(Quiet)).unwrap();
        let mut store = self.serving.engine().new_store(state);
        let run = meter.measure(Box::pin(work(&mut store)));
        match self
            .runtime
            .block_on(async { tokio::time::timeout(TIME, run).await })
        {
            Ok(Ok(())) => "ran".to_owned(),
            Ok(Err(_)) | Err(_) => "ended".to_owned(),
        }
    }

    fn component(&self, component: &Component) -> Outcome {
        let Ok(program) = self.serving.link(component) else {
            return "refused when linked".to_owned();
        };
        match program.http() {
            Some(handler) => self.run(async |store| request(store, handler).await),
            None => {
                let _ = program.kind();
                self.library(component)
            }
        }
    }

    /// Instantiates a component and calls what it exports, a command's `run` among it.
    fn library(&self, component: &Component) -> Outcome {
        let functions = functions(component);
        self.run(async |store| {
            let instance = self
                .linker
                .instantiate_async(&mut *store, component)
                .await?;
            for (index, ty) in functions {
                let parameters: Option<Vec<Val>> =
                    ty.params().map(|(_, ty)| value(&ty, 0)).collect();
                let mut results = vec![Val::Bool(false); ty.results().count()];
                let function = instance.get_func(&mut *store, index);
                if let (Some(function), Some(parameters)) = (function, parameters) {
                    function
                        .call_async(&mut *store, &parameters, &mut results)
                        .await?;
                }
            }
            Ok(())
        })
    }

    /// As `wharf run --invoke` does, with WASI 0.1 linked. Nothing could interrupt it.
    fn command(&self, module: &Module) -> Outcome {
        let runnable = Runnable::Module(module.clone());
        let mut outcome = "ran".to_owned();
        for export in module.exports().take(CALLS_MAX) {
            let ExternType::Func(ty) = export.ty() else {
                continue;
            };
            let zeros = vec!["0"; ty.params().len()].join(", ");
            let io = CommandIo {
                invoke: Some(format!("{}({zeros})", export.name())),
                ..CommandIo::default()
            };
            let (limits, _) = self.limits();
            let engine = self.single.engine();
            if run_command(engine, &runnable, &self.authority, limits, io).is_err() {
                outcome = "ended".to_owned();
            }
        }
        outcome
    }

    /// In the serving pool, where the clock interrupts it; what it imports traps.
    fn module(&self, module: &Module) -> Outcome {
        self.run(async |store| {
            let mut linker = wasmtime::Linker::new(self.serving.engine().wasmtime());
            linker.define_unknown_imports_as_traps(module)?;
            let instance = linker.instantiate_async(&mut *store, module).await?;
            for export in module.exports().take(CALLS_MAX) {
                let ExternType::Func(ty) = export.ty() else {
                    continue;
                };
                let defaults =
                    |types: &mut dyn Iterator<Item = ValType>| -> Option<Vec<wasmtime::Val>> {
                        types.map(|ty| ty.default_value()).collect()
                    };
                let function = instance.get_func(&mut *store, export.name());
                let parameters = defaults(&mut ty.params());
                let mut results = vec![wasmtime::Val::I32(0); ty.results().len()];
                if let (Some(function), Some(parameters)) = (function, parameters) {
                    function
                        .call_async(&mut *store, &parameters, &mut results)
                        .await?;
                }
            }
            Ok(())
        })
    }
}

/// How sending the response went, for the guest.
type Sent = Pin<Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>>;

/// One request as the server makes it, and the whole of its answer.
async fn request(store: &mut Store<InstanceState>, handler: HttpHandler) -> wasmtime::Result<()> {
    let body = Empty::<Bytes>::new();
    let request = http::Request::get("http://localhost/some/path?query");
    match handler {
        HttpHandler::P2(pre) => {
            let request = request.body(body)?;
            let proxy = pre.instantiate_async(&mut *store).await?;
            let (sender, head) = tokio::sync::oneshot::channel();
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(Scheme::Http, request)?;
            let out = http.new_response_outparam(sender)?;
            // The client: it reads as long as there is something.
            let client = tokio::task::spawn(async move {
                if let Ok(Ok(response)) = head.await {
                    let _ = response.into_body().collect().await;
                }
            });
            let called = proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut *store, request, out)
                .await;
            client.abort();
            called
        }
        HttpHandler::P3(pre) => {
            let request = request.body(body)?;
            let service = pre.instantiate_async(&mut *store).await?;
            store
                .run_concurrent(async |accessor| {
                    let (request, sent) = accessor.with(|mut access| {
                        let state: &mut InstanceState = access.get();
                        let (request, sent) = p3::Request::from_http(state.http().hooks, request);
                        (request, Box::pin(sent) as Sent)
                    });
                    let response = service.handle(accessor, request).await??;
                    let response =
                        accessor.with(|mut access| response.into_http(&mut access, sent))?;
                    let _ = response.into_body().collect().await;
                    Ok(())
                })
                .await?
        }
    }
}

/// The first functions that it exports, those of interfaces too.
fn functions(component: &Component) -> Vec<(ComponentExportIndex, types::ComponentFunc)> {
    let engine = component.engine();
    let mut found = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        let Some(index) = component.get_export_index(None, name) else {
            continue;
        };
        match item.ty {
            ComponentItem::ComponentFunc(function) => found.push((index, function)),
            ComponentItem::ComponentInstance(instance) => {
                for (name, item) in instance.exports(engine) {
                    if let (ComponentItem::ComponentFunc(function), Some(index)) =
                        (item.ty, component.get_export_index(Some(&index), name))
                    {
                        found.push((index, function));
                    }
                }
            }
            _ => {}
        }
    }
    found.truncate(CALLS_MAX);
    found
}

/// Some value of the type; none of resources and streams, which are made by calls.
fn value(ty: &types::Type, depth: usize) -> Option<Val> {
    use types::Type;
    if depth > 4 {
        return None;
    }
    let inner = |ty: &Type| value(ty, depth + 1);
    Some(match ty {
        Type::Bool => Val::Bool(true),
        Type::S8 => Val::S8(-1),
        Type::U8 => Val::U8(255),
        Type::S16 => Val::S16(-1),
        Type::U16 => Val::U16(7),
        Type::S32 => Val::S32(-1),
        Type::U32 => Val::U32(u32::MAX),
        Type::S64 => Val::S64(-1),
        Type::U64 => Val::U64(7),
        Type::Float32 => Val::Float32(f32::NAN),
        Type::Float64 => Val::Float64(0.5),
        Type::Char => Val::Char('\u{10ffff}'),
        Type::String => Val::String("some text".to_owned()),
        Type::List(list) => Val::List(vec![inner(&list.ty())?; 3]),
        Type::Record(record) => Val::Record(
            record
                .fields()
                .map(|field| Some((field.name.to_owned(), inner(&field.ty)?)))
                .collect::<Option<_>>()?,
        ),
        Type::Tuple(tuple) => {
            Val::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Option<_>>()?)
        }
        Type::Variant(variant) => {
            let case = variant.cases().next()?;
            let payload = match case.ty {
                Some(ty) => Some(Box::new(inner(&ty)?)),
                None => None,
            };
            Val::Variant(case.name.to_owned(), payload)
        }
        Type::Enum(names) => Val::Enum(names.names().next()?.to_owned()),
        Type::Option(option) => Val::Option(inner(&option.ty()).map(Box::new)),
        Type::Result(result) => Val::Result(Err(match result.err() {
            Some(ty) => Some(Box::new(inner(&ty)?)),
            None => None,
        })),
        Type::Flags(flags) => Val::Flags(flags.names().map(str::to_owned).collect()),
        _ => return None,
    })
}

/// What a guest prints is nobody's business here.
struct Quiet;

impl GuestOutput for Quiet {
    fn write(&self, _: OutputStream, _: &[u8]) {}

    fn of_tasks(&self, _: &[GuestTaskId]) -> Option<Arc<dyn GuestOutput>> {
        None
    }
}
