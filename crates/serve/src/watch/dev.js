// Reloads the page on a new version and shows a failed build over it. Only under `wharf up --watch`.
(() => {
  "use strict";
  if (window.__wharfDev) return;
  window.__wharfDev = true;

  const RELOADED = "wharf-dev-reloaded";
  const RELOAD_PAUSE_MS = 3000;
  const RETRY_MS = 500;
  let version = document.currentScript?.dataset.version;
  let source;
  let retry;
  let panel;

  function reloadFor(next) {
    // A page that comes back with its old version, from some cache, must not reload for ever.
    try {
      const last = JSON.parse(sessionStorage.getItem(RELOADED)) ?? {};
      if (last.version === next && Date.now() - last.time < RELOAD_PAUSE_MS) {
        version = next;
        return;
      }
      sessionStorage.setItem(RELOADED, JSON.stringify({ version: next, time: Date.now() }));
    } catch {
      // Storage may be denied; the page then does without this guard.
    }
    location.reload();
  }

  function hide() {
    panel?.remove();
    panel = undefined;
  }

  function element(name, text, style) {
    const made = document.createElement(name);
    made.textContent = text;
    Object.assign(made.style, style);
    return made;
  }

  // Styles are set one by one and text is only ever text: this holds under any content policy.
  function show(title, text, note) {
    hide();
    panel = element("div", "", { all: "initial", position: "fixed", zIndex: "2147483647", colorScheme: "dark" });
    const root = panel.attachShadow({ mode: "closed" });
    if (text === undefined) {
      Object.assign(panel.style, { right: "12px", bottom: "12px" });
      root.append(element("div", title, {
        font: "13px system-ui, sans-serif", color: "#eee", background: "#222d", padding: "6px 12px",
        borderRadius: "6px",
      }));
    } else {
      Object.assign(panel.style, { inset: "0" });
      const card = element("div", "", {
        boxSizing: "border-box", position: "absolute", inset: "0", overflow: "auto", padding: "32px",
        background: "#16161a", color: "#eee", borderTop: "4px solid #e5484d",
      });
      card.setAttribute("role", "alertdialog");
      card.setAttribute("aria-label", title);
      const close = element("button", "Close (Esc)", {
        position: "absolute", top: "16px", right: "16px", font: "13px system-ui, sans-serif", color: "#eee",
        background: "#333", border: "1px solid #555", borderRadius: "4px", padding: "4px 10px", cursor: "pointer",
      });
      close.addEventListener("click", hide);
      card.append(
        element("h1", title, { font: "600 18px system-ui, sans-serif", margin: "0 0 4px", color: "#ff6369" }),
        element("p", `${note} This goes away once the build succeeds.`, {
          font: "13px system-ui, sans-serif", margin: "0 0 20px", color: "#aaa",
        }),
        element("pre", text, {
          font: "13px/1.5 ui-monospace, Menlo, Consolas, monospace", margin: "0", whiteSpace: "pre-wrap",
          overflowWrap: "anywhere", tabSize: "4",
        }),
        close,
      );
      root.append(card);
    }
    document.documentElement.append(panel);
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });

  function take(message) {
    if (message.state === "building") {
      show("Building\u2026");
    } else if (message.state === "failed") {
      const note = message.served ? "The version before is still served." : "No version is served yet.";
      show("The build failed", message.text, note);
    } else if (message.state === "ok") {
      hide();
      if (message.version !== version) reloadFor(message.version);
    }
  }

  function connect() {
    clearTimeout(retry);
    if (source || document.hidden) return;
    source = new EventSource("/.wharf/dev");
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.onerror = () => {
      // The browser tries again by itself after a break, but not after an answer it cannot use.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = undefined;
      retry = setTimeout(connect, RETRY_MS);
    };
  }

  function disconnect() {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  }

  // HTTP/1.1 gives a host six connections for all tabs: hidden ones must hold none.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  connect();
})();
