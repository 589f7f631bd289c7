//! Guests that fail: what the client gets, what the log says, and that the server serves on.

use http_body_util::BodyExt;
use serde_json::Value;

use crate::up_client::{
    Answer, Client, Upstream, WIRES, Wire, get, get_request, read_until, within,
};
use crate::up_kitchen::{KITCHENS, Kitchen, P2_PURE, P2_STD, P3_PURE, Up, sandbox};

/// Limits that are met soon.
const TIGHT: &str = "limits = { cpu = \"200ms\", time = \"3s\", memory = \"32MiB\", body_idle = \"1s\", handles = 500 }";

/// How a route of the kitchen fails before its response begins.
struct Case {
    path: &'static str,
    status: u16,
    kind: &'static str,
    message: &'static str,
    hint: &'static str,
    needs_std: bool,
}

const CASES: [Case; 8] = [
    Case {
        path: "/panic",
        status: 500,
        kind: "guest",
        message: "the guest aborted",
        hint: "stderr",
        needs_std: false,
    },
    Case {
        path: "/trap",
        status: 500,
        kind: "guest",
        message: "the guest",
        hint: "",
        needs_std: false,
    },
    Case {
        path: "/exit",
        status: 500,
        kind: "guest",
        message: "the guest called exit(1)",
        hint: "returns its response",
        needs_std: true,
    },
    Case {
        path: "/loop",
        status: 500,
        kind: "limit",
        message: "CPU limit of 200ms met",
        hint: "limits.cpu",
        needs_std: false,
    },
    Case {
        path: "/oom",
        status: 500,
        kind: "limit",
        message: "memory limit of 32MiB met",
        hint: "limits.memory",
        needs_std: false,
    },
    Case {
        // Rust keeps arrays on a stack of its own, in the guest's memory: its end is met first.
        path: "/recurse",
        status: 500,
        kind: "guest",
        message: "used memory that it does not have",
        hint: "recursion",
        needs_std: false,
    },
    Case {
        path: "/leak",
        status: 500,
        kind: "limit",
        message: "limit of 500 handles met",
        hint: "limits.handles",
        needs_std: false,
    },
    Case {
        path: "/never",
        status: 504,
        kind: "limit",
        message: "time limit of 3s met",
        hint: "limits.time",
        needs_std: false,
    },
];

async fn check(kitchen: Kitchen, up: &Up, case: &Case) {
    let at = format!("{kitchen} {}", case.path);
    let mark = up.server.mark();
    let answer = get(up.addr, case.path).await;
    assert_eq!(answer.status, case.status, "{at}: {}", answer.text());
    let request = up.logged_request(mark, case.path);
    let id = request["request_id"].as_str().unwrap();
    let is_fault = |line: &Value| line["kind"].is_string() && line["request_id"] == id;
    let fault = up.logged_after(mark, is_fault);
    let says = |field: &str| fault[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(says("kind"), case.kind, "{at}: {fault}");
    assert_eq!(says("level"), "error", "{at}");
    assert_eq!(says("component"), "kitchen", "{at}");
    assert!(says("msg").contains(case.message), "{at}: {fault}");
    assert!(says("hint").contains(case.hint), "{at}: {fault}");
    assert_eq!(request["status"], case.status, "{at}");
    assert_eq!(request["error"], fault["msg"], "{at}");
    // Here, on a developer's machine, the client learns as much.
    for part in [id, case.message, case.hint] {
        assert!(answer.text().contains(part), "{at}: {}", answer.text());
    }
    let faults = up.log().into_iter().filter(is_fault).count();
    assert_eq!(faults, 1, "{at}: one fault, one line");
    let hello = get(up.addr, "/hello").await;
    assert_eq!((hello.status, hello.text()), (200, "hello\n"), "after {at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_guest_is_told_of_and_the_next_request_is_served() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(TIGHT);
        for case in &CASES {
            if kitchen.std || !case.needs_std {
                check(kitchen, &up, case).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_fails_alone_with_its_own_instance() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(&format!("{TIGHT}\nisolation = \"request\""));
        for case in &CASES {
            if kitchen.std || !case.needs_std {
                check(kitchen, &up, case).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_comes_with_the_guests_stack_and_message() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        get(up.addr, "/panic").await;
        let fault = up.logged(|line| line["kind"] == "guest");
        let stack = fault["backtrace"].as_str().unwrap_or_default();
        assert!(stack.lines().count() > 3, "{kitchen}: {fault}");
        let message = up.logged(|line| {
            let text = line["msg"].as_str().unwrap_or_default();
            line["stream"] == "stderr" && text.contains("on purpose")
        });
        assert_eq!(message["request_id"], fault["request_id"], "{kitchen}");
    }
}

/// An error that the handler returns is an answer, not a fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_handlers_error_is_for_the_log() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let answer = get(up.addr, "/error").await;
        assert_eq!(answer.status, 500, "{kitchen}");
        assert!(
            !answer.text().contains("only the log"),
            "{kitchen}: {}",
            answer.text()
        );
        let line = up.logged(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("an error that only the log shows"))
        });
        let request = up.logged_request(0, "/error");
        assert_eq!(line["request_id"], request["request_id"], "{kitchen}");
    }
}

/// Asks for `path`, whose body ends before its time. Gives what came of it; nothing where the
/// break came before the head was sent.
async fn broken_off(client: &mut Client, path: &str) -> String {
    let Ok(response) = client.try_open(get_request(path)).await else {
        return String::new();
    };
    let answer = Answer::read(response).await;
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.broken.is_some(), "{path}: taken for whole");
    answer.text().to_owned()
}

/// The head is out when it happens: the client must see that the body is not whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_taken_for_whole() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with(TIGHT);
        for wire in WIRES {
            for (path, beginning, error) in [
                ("/broken", "", "broke"),
                (
                    "/unfinished",
                    "the beginning\n",
                    "the response body brought nothing for 1s",
                ),
            ] {
                let at = format!("{kitchen} {wire:?} {path}");
                let mark = up.server.mark();
                let mut client = Client::connect(up.addr, wire).await;
                let text = broken_off(&mut client, path).await;
                assert!(text.starts_with(beginning), "{at}: {text:?}");
                let request = up.logged_request(mark, path.split('?').next().unwrap());
                let logged = request["error"].as_str().unwrap_or_default();
                assert!(logged.contains(error), "{at}: {request}");
                assert_eq!(get(up.addr, "/hello").await.status, 200, "after {at}");
            }
        }
    }
}

/// Waiting is no computing: a stream that lasts longer than the CPU limit is not stopped by it.
#[tokio::test(flavor = "multi_thread")]
async fn pauses_cost_no_cpu_time() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { cpu = \"200ms\" }");
        let answer = get(up.addr, "/stream?n=60&ms=12").await;
        assert_eq!(answer.broken, None, "{kitchen}");
        assert_eq!(answer.text().lines().count(), 60, "{kitchen}");
    }
}

/// CPU time of a process, in the kernel's ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold anything.
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// The spinners do not end before the test does.
#[tokio::test(flavor = "multi_thread")]
async fn good_requests_are_answered_while_guests_spin() {
    // Three seconds, far more than good requests take.
    const SPUN: u64 = 300;
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { cpu = \"1h\", time = \"1h\" }");
        let addr = up.addr;
        let before = cpu_ticks(up.server.id());
        let spinning: Vec<_> = (0..4)
            .map(|_| tokio::spawn(async move { get(addr, "/loop").await.status }))
            .collect();
        let mut served = 0;
        while served < 20 || cpu_ticks(up.server.id()) - before < SPUN {
            let hello = get(addr, "/hello").await;
            assert_eq!(hello.status, 200, "{kitchen}: {}", hello.text());
            served += 1;
        }
        for client in spinning {
            assert!(!client.is_finished(), "{kitchen}: it spins on");
            client.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_spin_do_not_shut_others_out() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("limits = { cpu = \"200ms\" }");
        let addr = up.addr;
        let spinning: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn(async move {
                    let mut statuses = Vec::new();
                    for _ in 0..3 {
                        statuses.push(get(addr, "/loop").await.status);
                    }
                    statuses
                })
            })
            .collect();
        let mut served = 0;
        while served < 20 || !spinning.iter().all(|client| client.is_finished()) {
            let hello = get(addr, "/hello").await;
            assert_eq!(hello.status, 200, "{kitchen}: {}", hello.text());
            served += 1;
        }
        for client in spinning {
            assert_eq!(client.await.unwrap(), [500; 3], "{kitchen}");
        }
    }
}

/// Of two requests on one instance one traps: the other is run once more, for it is safe.
#[tokio::test(flavor = "multi_thread")]
async fn a_trap_takes_no_safe_request_with_it() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let addr = up.addr;
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.push(tokio::spawn(
                async move { get(addr, "/sleep?ms=300").await },
            ));
        }
        for path in ["/panic", "/recurse", "/panic"] {
            assert_eq!(get(addr, path).await.status, 500, "{kitchen} {path}");
        }
        for request in waiting {
            let answer = request.await.unwrap();
            assert_eq!(answer.status, 200, "{kitchen}: {}", answer.text());
        }
    }
}

/// The same when one of them meets a limit of their instance: alone, each has the limit for
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_takes_no_safe_request_with_it() {
    const AT_ONCE: usize = 8;
    let settings = |origin: &str| {
        format!(
            "grants = {{ http = [\"{origin}\"] }}\n\
             limits = {{ cpu = \"100ms\", memory = \"16MiB\", handles = 500 }}"
        )
    };
    for path in ["/loop", "/oom", "/leak"] {
        let upstream = Upstream::start().await;
        let up = P3_PURE.up_with(&settings(&upstream.origin()));
        let (addr, proxy) = (up.addr, upstream.proxy_path());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let proxy = proxy.clone();
            waiting.spawn(async move { get(addr, &proxy).await });
        }
        let mut asked = Vec::new();
        for _ in 0..AT_ONCE {
            asked.push(upstream.request().await);
        }
        assert_eq!(get(addr, path).await.status, 500, "{path}");
        for asked in asked {
            asked.answer("an answer").await;
        }
        let answering = tokio::spawn(async move {
            loop {
                upstream.request().await.answer("an answer").await;
            }
        });
        while let Some(answer) = within("an answer", waiting.join_next()).await {
            let answer = answer.unwrap();
            assert_eq!(answer.text(), "an answer", "{path}");
        }
        answering.abort();
    }
}

/// Each of many is done in a moment; together they work for longer than one may.
#[tokio::test(flavor = "multi_thread")]
async fn work_after_answers_has_its_own_time_each() {
    let up = P3_PURE.up_with("limits = { time = \"1s\" }");
    let mut client = Client::connect(up.addr, Wire::H1).await;
    const COUNT: usize = 8;
    for _ in 0..COUNT {
        assert_eq!(client.get("/after?ms=300").await.status, 200);
        assert_eq!(client.get("/sleep?ms=250").await.status, 200);
    }
    let ended = |line: &Value| {
        let text = line["msg"].as_str().unwrap_or_default();
        text.contains("worked after the response")
    };
    let mut mark = 0;
    for _ in 0..COUNT {
        mark = up.position_after(mark, ended);
    }
    let faults = up.log().into_iter().filter(|line| line["kind"].is_string());
    assert_eq!(faults.count(), 0);
}

/// The head of one request is out when another ends their instance.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_instance_dies_is_not_taken_for_whole() {
    for wire in WIRES {
        let up = P3_PURE.up(&[]);
        let mut client = Client::connect(up.addr, wire).await;
        let mut body = client.open(get_request("/unfinished")).await.into_body();
        read_until(&mut body, "the beginning\n").await;
        assert_eq!(get(up.addr, "/panic").await.status, 500);
        let rest = within("the end", body.collect()).await;
        assert!(rest.is_err(), "{wire:?}: taken for whole");
        let request = up.logged_request(0, "/unfinished");
        assert!(request["error"].is_string(), "{wire:?}: {request}");
    }
}

/// One broken-off stream of an HTTP/2 connection leaves the others whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_leaves_its_connection_alone() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let mut client = Client::connect(up.addr, Wire::H2).await;
        let request = get_request("/sse?n=1000000&ms=5");
        let mut other = client.open(request).await.into_body();
        broken_off(&mut client, "/broken").await;
        read_until(&mut other, "data: event").await;
        assert_eq!(client.get("/hello").await.text(), "hello\n", "{kitchen}");
        read_until(&mut other, "data: event").await;
    }
}

/// A 0.2 handler that returns and never says what its response is.
const SILENT: &str = r#"(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $module (func (export "handle") (param i32 i32)))
  (core instance $instance (instantiate $module))
  (alias core export $instance "handle" (core func $handle))
  (type $handler (func (param "request" (own $request)) (param "response-out" (own $out))))
  (func $lifted (type $handler) (canon lift (core func $handle)))
  (instance $exports (export "handle" (func $lifted)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $exports))
)"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_a_response_is_a_fault() {
    let sandbox = sandbox();
    let file = sandbox.put("silent.wat", SILENT);
    let up = Up::start(sandbox, &file, &[]);
    for _ in 0..3 {
        let answer = get(up.addr, "/").await;
        assert_eq!(answer.status, 500);
        assert!(
            answer.text().contains("without a response"),
            "{}",
            answer.text()
        );
    }
    let fault = up.logged(|line| line["kind"] == "guest");
    assert!(
        fault["hint"].as_str().unwrap().contains("outparam"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_after_the_answer_goes_on_and_is_logged_with_its_request() {
    for kitchen in KITCHENS {
        let up = kitchen.up(&[]);
        let answer = get(up.addr, "/after?ms=50").await;
        assert_eq!(answer.text(), "working\n", "{kitchen}");
        let is_it = |line: &Value| {
            let text = line["msg"].as_str().unwrap_or_default();
            text.contains("worked after the response")
        };
        let line = up.logged(is_it);
        let request = up.logged_request(0, "/after");
        assert_eq!(line["request_id"], request["request_id"], "{kitchen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_beyond_its_limit_breaks_off() {
    for kitchen in [P2_STD, P2_PURE, P3_PURE] {
        let up = kitchen.up_with("limits = { response = \"1MiB\" }");
        let mut client = Client::connect(up.addr, Wire::H1).await;
        let response = client.open(get_request("/big?mb=4")).await;
        assert_eq!(response.status(), 200, "{kitchen}");
        let broken = within("the body", response.into_body().collect()).await;
        assert!(broken.is_err(), "{kitchen}: 4 MiB came through");
        let request = up.logged_request(0, "/big");
        let error = request["error"].as_str().unwrap_or_default();
        assert!(error.contains("larger than 1MiB"), "{kitchen}: {request}");
        assert_eq!(get(up.addr, "/hello").await.status, 200, "{kitchen}");
    }
}
