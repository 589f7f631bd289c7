//! Guests that mean harm: each is ended by the limit that it meets, the log names that limit and
//! how to raise it, and the good route answers on. Those that merely fail are in `up_faults`.

use std::fs;
use std::time::{Duration, Instant};

use wharf_testkit::{Wasi, guests};

use crate::up_client::{Answer, Client, Raw, Upstream, Wire, get, get_request, status_of};
use crate::up_floods::memory_kib;
use crate::up_kitchen::{Up, sandbox};

const GOOD: &str = "alive\n";
pub(crate) const WASIS: [Wasi; 2] = [Wasi::P2, Wasi::P3];

/// Limits that are met soon.
const TIGHT: &str = "limits = { cpu = \"200ms\", time = \"3s\", body_idle = \"1s\", \
    handles = 2000, log = \"64KiB\", response = \"8MiB\" }";

/// Serves the hostile guest at all routes, and as another component below `/other`.
pub(crate) fn up(wasi: Wasi, settings: &str) -> Up {
    eprintln!("{wasi:?}, with {settings}");
    let sandbox = sandbox();
    sandbox.copy(guests::hostile(wasi), "hostile.wasm");
    sandbox.put(
        "wharf.toml",
        format!(
            "manifest = 1\nname = \"hostile\"\nversion = \"0.1.0\"\n\n\
             [component.hostile]\nsource = \"hostile.wasm\"\n{settings}\n\n\
             [component.other]\nsource = \"hostile.wasm\"\n\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hostile\"\n\n\
             [[trigger.http]]\nroute = \"/other/...\"\ncomponent = \"other\"\n"
        ),
    );
    Up::start_here(sandbox, &[])
}

pub(crate) async fn is_good(up: &Up, at: &str) {
    for path in ["/", "/other"] {
        let answer = get(up.addr, path).await;
        assert_eq!((answer.status, answer.text()), (200, GOOD), "{path}, {at}");
    }
}

/// A route, what its client gets, and what the log says of it: the fault and the hint.
type Case = (&'static str, u16, &'static str, &'static str);

const CPU: (&str, &str) = ("CPU limit of 200ms met", "limits.cpu");

const CASES: &[Case] = &[
    ("/spin", 500, CPU.0, CPU.1),
    ("/clock", 500, CPU.0, CPU.1),
    ("/yield", 500, CPU.0, CPU.1),
    ("/fill", 500, CPU.0, CPU.1),
    ("/grow", 500, CPU.0, CPU.1),
    ("/stdout", 500, CPU.0, CPU.1),
    ("/line", 500, CPU.0, CPU.1),
    (
        "/memory",
        500,
        "memory limit of 128MiB met",
        "limits.memory",
    ),
    ("/recurse", 500, "the guest's stack overflowed", "recursion"),
    (
        "/handles",
        500,
        "limit of 2000 handles met",
        "limits.handles",
    ),
    ("/sleep", 504, "time limit of 3s met", "limits.time"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_do_harm_meets_its_limit() {
    for wasi in WASIS {
        let up = up(wasi, TIGHT);
        for (path, status, message, hint) in CASES {
            let at = format!("{wasi:?} {path}");
            let mark = up.server.mark();
            let answer = get(up.addr, path).await;
            assert_eq!(answer.status, *status, "{at}: {}", answer.text());
            let request = up.logged_request(mark, path);
            let fault = up.logged_after(mark, |line| {
                line["kind"].is_string() && line["request_id"] == request["request_id"]
            });
            let says = |field: &str| fault[field].as_str().unwrap_or_default();
            assert!(says("msg").contains(message), "{at}: {fault}");
            assert!(says("hint").contains(hint), "{at}: {fault}");
            is_good(&up, &at).await;
        }
    }
}

/// Memory of the kernel that no limit of the guest's own counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_guests_made_of_their_stacks_is_given_back() {
    const AT_ONCE: usize = 150;
    for wasi in WASIS {
        let up = up(wasi, "limits = { time = \"3s\" }");
        let wait = async |path: &str| {
            let (addr, path) = (up.addr, path.to_owned());
            let ask = || {
                let path = path.clone();
                tokio::spawn(async move { get(addr, &path).await })
            };
            let waiting: Vec<_> = (0..AT_ONCE).map(|_| ask()).collect();
            for answer in waiting {
                let answer = answer.await.unwrap();
                assert_eq!(answer.status, 504, "{wasi:?} {path}: {}", answer.text());
            }
            is_good(&up, &path).await;
        };
        // What is made once is made.
        wait("/sleep").await;
        let flat = memory_kib(&up);
        wait("/deep").await;
        // Each held some 400 KiB of it, and a little more of its own memory, which the pool keeps.
        let most = flat + AT_ONCE as u64 * 250;
        // A shared instance ends a while after its request.
        crate::up_client::within("the end of deep guests", async {
            while memory_kib(&up) > most {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}

/// A host call that nobody could interrupt is refused, or gives less than was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_come_in_small_portions() {
    for (wasi, message) in [(Wasi::P2, "exceeds limit 1048576"), (Wasi::P3, CPU.0)] {
        let up = up(wasi, TIGHT);
        let answer = get(up.addr, "/random").await;
        assert_eq!(answer.status, 500, "{wasi:?}");
        assert!(answer.text().contains(message), "{}", answer.text());
        is_good(&up, "/random").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_beyond_any_measure_are_an_error_of_the_guest() {
    for wasi in WASIS {
        let up = up(wasi, TIGHT);
        let answer = get(up.addr, "/headers").await;
        assert_eq!(answer.status, 500, "{wasi:?}: {}", answer.text());
        let met = up.logged(|line| line["msg"] == "limit of 128KiB of headers met");
        let hint = met["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("a body is the place for it"), "{met}");
        is_good(&up, "/headers").await;
    }
}

/// The head is out: all that is left is to cut the body, which the client must see.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_cut() {
    for wasi in WASIS {
        let up = up(wasi, TIGHT);
        for (path, message) in [
            ("/body", "larger than 8MiB"),
            ("/drip", CPU.0),
            ("/unfinished", "brought nothing for 1s"),
        ] {
            let at = format!("{wasi:?} {path}");
            let mark = up.server.mark();
            let mut client = Client::connect(up.addr, Wire::H1).await;
            if let Ok(response) = client.try_open(get_request(path)).await {
                assert_eq!(response.status(), 200, "{at}");
                let answer = Answer::read(response).await;
                assert!(answer.broken.is_some(), "{at}: taken for whole");
            }
            let request = up.logged_request(mark, path);
            let error = request["error"].as_str().unwrap_or_default();
            assert!(error.contains(message), "{at}: {request}");
            is_good(&up, &at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_reads_ends_with_the_time() {
    for wasi in WASIS {
        let up = up(wasi, TIGHT);
        let mut upload =
            b"POST /noread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n".to_vec();
        upload.resize(64 << 10, b'x');
        let head = Raw::send(up.addr, upload).await.head().await;
        assert_eq!(status_of(&head), 504, "{wasi:?}: {head}");
        is_good(&up, "/noread").await;
    }
}

/// Beyond those allowed at once a guest is refused; what it began ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn outgoing_calls_without_end_are_bounded() {
    const AT_ONCE: usize = 3;
    for wasi in WASIS {
        let upstream = Upstream::start().await;
        let origin = upstream.origin();
        let up = up(
            wasi,
            &format!(
                "grants = {{ http = [\"{origin}\"] }}\n\
                 limits = {{ time = \"2s\", cpu = \"10s\", outgoing = {AT_ONCE} }}"
            ),
        );
        let (addr, path) = (up.addr, format!("/outgoing?{origin}/"));
        let asking = tokio::spawn(async move { get(addr, &path).await });
        let mut asked = Vec::new();
        for _ in 0..AT_ONCE {
            asked.push(upstream.request().await);
        }
        assert_eq!(asking.await.unwrap().status, 504, "{wasi:?}");
        for asked in asked {
            asked.closed().await;
        }
        is_good(&up, "/outgoing").await;
    }
}

/// Each with handles and work of its own: one of these limits is met, whichever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_timers_without_end_meet_a_limit() {
    for wasi in WASIS {
        let up = up(wasi, TIGHT);
        for path in ["/tasks", "/timers"] {
            let answer = get(up.addr, path).await;
            let text = answer.text();
            assert_eq!(answer.status, 500, "{wasi:?} {path}: {text}");
            let is_told = text.contains(CPU.0) || text.contains("limit of 2000 handles met");
            assert!(is_told, "{wasi:?} {path}: {text}");
            is_good(&up, path).await;
        }
    }
}

/// A 0.2 handler that lets its table grow for ever, and traps when it may not.
const TABLE: &str = r#"(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $module
    (table $table 0 funcref)
    (func (export "handle") (param i32 i32)
      (loop $more
        (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 100)) (i32.const -1))))
      unreachable))
  (core instance $instance (instantiate $module))
  (alias core export $instance "handle" (core func $handle))
  (type $handler (func (param "request" (own $request)) (param "response-out" (own $out))))
  (func $lifted (type $handler) (canon lift (core func $handle)))
  (instance $exports (export "handle" (func $lifted)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $exports))
)"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_their_limits() {
    let sandbox = sandbox();
    let file = sandbox.put("table.wat", TABLE);
    let up = Up::start(sandbox, &file, &[]);
    for _ in 0..3 {
        let answer = get(up.addr, "/").await;
        assert_eq!(answer.status, 500);
        let text = answer.text();
        assert!(
            text.contains("limit of 100000 elements in a table met"),
            "{text}"
        );
    }
}

/// What one component leaves in memory, no other finds, nor does a later instance of its own.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_handed_on_empty() {
    const ROUNDS: usize = 12;
    for (wasi, settings) in [
        (Wasi::P2, ""),
        (Wasi::P2, "reuse = true"),
        (Wasi::P3, ""),
        (Wasi::P3, "isolation = \"request\""),
    ] {
        let up = up(wasi, settings);
        let mut client = Client::connect(up.addr, Wire::H1).await;
        for seed in 1..=ROUNDS {
            let put = client.get(&format!("/canary/put?{seed}")).await;
            assert_eq!(put.status, 200, "{wasi:?}: {}", put.text());
            // An instance that lives on holds what it was given: the canary is worth something.
            let found = client.get(&format!("/other/canary/find?{seed}")).await;
            assert_eq!(found.text(), "0", "{wasi:?} {settings}");
            let fresh = client.get("/other/canary/fresh").await;
            // An instance that lives on has taken all that it may after the first times.
            let may_be_full = wasi == Wasi::P3 && seed > 1;
            if !(may_be_full && fresh.text() == "refused") {
                assert_eq!(fresh.text(), "0", "{wasi:?} {settings}");
            }
        }
    }
}

/// The search itself finds what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_found_where_it_was_left() {
    let up = up(Wasi::P2, "reuse = true");
    let mut client = Client::connect(up.addr, Wire::H1).await;
    // An instance may be replaced in between, if the machine is busy.
    for seed in 1..=20 {
        client.get(&format!("/canary/put?{seed}")).await;
        let found = client.get(&format!("/canary/find?{seed}")).await;
        if found.text() != "0" {
            return;
        }
    }
    panic!("20 canaries were not found again");
}

/// Processor time of the server so far, in the kernel's ticks.
fn cpu_ticks(up: &Up) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", up.server.id())).unwrap();
    // The name, in brackets, may hold spaces. User and system time are the fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// No guest computes for a client that left, though its limit is far away.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_does_not_outlive_its_client() {
    for (wasi, isolation) in [
        (Wasi::P2, "shared"),
        (Wasi::P3, "shared"),
        (Wasi::P3, "request"),
    ] {
        let up = up(
            wasi,
            &format!("isolation = \"{isolation}\"\nlimits = {{ cpu = \"900s\", time = \"900s\" }}"),
        );
        let mut clients = Vec::new();
        for path in ["/spin", "/clock", "/yield", "/fill"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            clients.push(Raw::send(up.addr, request).await);
        }
        let before = cpu_ticks(&up);
        let deadline = Instant::now() + Duration::from_secs(60);
        while cpu_ticks(&up) < before + 20 {
            assert!(Instant::now() < deadline, "{wasi:?}: nobody computes");
            is_good(&up, "while others compute").await;
        }
        drop(clients);
        // At rest when a while brings no tick; a guest that went on would use one in each.
        let mut last = cpu_ticks(&up);
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = cpu_ticks(&up);
            if now - last <= 2 {
                break;
            }
            last = now;
            assert!(
                Instant::now() < deadline,
                "{wasi:?} {isolation}: still computing"
            );
        }
    }
}
