//! What guests make the host keep counts to their memory.

use http::Request;

use crate::up_client::{Client, WIRES, full, get};
use crate::up_hostile::{WASIS, is_good, up};
use crate::up_http::memory_peak;
use crate::up_kitchen::{KITCHENS, P2_STD, P3_STD};

const LIMIT_BYTES: u64 = 48 << 20;
const LIMITS: &str = "limits = { memory = \"48MiB\", cpu = \"30s\", handles = 10000 }";

/// What the process may grow by: the allocator keeps some of what earlier instances had in the
/// arenas of other threads. Uncounted, it would be 1.2 GB.
const GROWTH_MAX_BYTES: u64 = 3 * LIMIT_BYTES;

/// An instance meets its limit with text on the host, the log says so, and nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn text_on_the_host_counts_to_the_memory_limit() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        is_good(&up, "the beginning").await;
        let before = memory_peak(up.server.id());
        for path in ["/kept/fields", "/kept/paths", "/kept/fields", "/kept/paths"] {
            let at = format!("{wasi:?} {path}");
            let mark = up.server.mark();
            let answer = get(up.addr, path).await;
            assert_eq!(answer.status, 500, "{at}: {}", answer.text());
            let request = up.logged_request(mark, path);
            let error = request["error"].as_str().unwrap_or_default();
            assert_eq!(error, "memory limit of 48MiB met", "{at}: {request}");
            is_good(&up, &at).await;
        }
        let peak = memory_peak(up.server.id());
        let growth = peak.saturating_sub(before);
        assert!(growth <= GROWTH_MAX_BYTES, "{wasi:?}: {growth} bytes");
    }
}

/// What is dropped counts no more, however much it was in all: 80 MB here.
#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_gone_is_given_back() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        let answer = get(up.addr, "/kept/dropped").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "dropped\n"),
            "{wasi:?}"
        );
    }
}

/// The host gives back an error, or ends a guest that hands it too much in one call.
#[tokio::test(flavor = "multi_thread")]
async fn methods_are_short() {
    for wasi in WASIS {
        let up = up(wasi, LIMITS);
        let answer = get(up.addr, "/kept/method?3").await;
        let told = (answer.status, answer.text());
        assert_eq!(told, (200, "refused\n"), "{wasi:?}");
        let answer = get(up.addr, "/kept/method?8").await;
        assert_eq!(answer.status, 500, "{wasi:?}");
        for part in ["too much for one call of the host", "4 MiB at most"] {
            assert!(answer.text().contains(part), "{wasi:?}: {}", answer.text());
        }
        is_good(&up, "the method").await;
    }
}

/// No guest needs large calls to read and write large files.
#[tokio::test(flavor = "multi_thread")]
async fn large_files_go_through_small_calls() {
    let contents: Vec<u8> = (0..12_000_000_u32).map(|number| number as u8).collect();
    for kitchen in [P2_STD, P3_STD] {
        let up =
            kitchen.up_with("grants = { files = [\"data:/data:rw\"] }\nlimits = { cpu = \"30s\" }");
        up.sandbox.put("data/large", &contents);
        let answer = get(up.addr, "/copy?path=/data/large&to=/data/copy").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "copied\n"),
            "{kitchen}"
        );
        let copy = std::fs::read(up.sandbox.work().join("data/copy")).unwrap();
        assert!(copy == contents, "{kitchen}: {} bytes", copy.len());
    }
}

/// A guest that means no harm reads and writes as many fields as a request may have, again and
/// again, within little memory.
#[tokio::test(flavor = "multi_thread")]
async fn many_fields_are_fine() {
    for kitchen in KITCHENS {
        let up = kitchen.up_with("reuse = true\nlimits = { memory = \"16MiB\" }");
        for wire in WIRES {
            let mut client = Client::connect(up.addr, wire).await;
            for _ in 0..20 {
                let mut request = Request::get("/headers");
                for number in 0..60 {
                    request = request.header(format!("x-{number}"), "v".repeat(500));
                }
                let answer = client.send(request.body(full("")).unwrap()).await;
                assert_eq!(answer.status, 200, "{kitchen}: {}", answer.text());
                assert!(answer.text().contains("\"x-59\""), "{kitchen}");
            }
        }
    }
}
