// Sends a picture to the component and reads its answer: lines of JSON that tell the progress, then
// the bytes of the picture. See `api/src/stream.rs` for the format.

const STREAM = "application/vnd.darkroom.progress";

/** An error to show: what failed, why, and what to do about it. */
export class Failure extends Error {
  constructor(title, detail, hint) {
    super(detail);
    Object.assign(this, { title, hint });
  }
}

/**
 * Applies an operation to a file. `report(step, fraction)` hears of `upload`, `decode`, `filter`,
 * `encode` and `download`. Answers with the picture as a blob, its sides, and where the time went in
 * milliseconds; `network` is what neither the upload nor the guest accounts for.
 */
export function develop(file, query, signal, report) {
  return new Promise((resolve, reject) => {
    // XMLHttpRequest, as fetch tells nothing of an upload's progress. Text of x-user-defined has
    // one character a byte and can be read while it arrives.
    const request = new XMLHttpRequest();
    const started = performance.now();
    const reader = new Reader(report);
    let uploaded = started;

    request.open("POST", `/api/filter?${query}`);
    request.setRequestHeader("Accept", STREAM);
    request.setRequestHeader("Content-Type", file.type);
    request.overrideMimeType("text/plain; charset=x-user-defined");
    request.upload.onprogress = (event) => report("upload", event.total ? event.loaded / event.total : 0);
    request.upload.onload = () => { uploaded = performance.now(); report("upload", 1); };
    request.onprogress = (event) => {
      try {
        if (request.status === 200) reader.arrived(request, event.loaded);
      } catch (error) {
        reject(error);
      }
    };
    request.onload = () => {
      try {
        if (request.status !== 200) throw refusal(request);
        resolve(reader.finish(request.responseText, started, uploaded));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Failure("The connection broke", "The server did not answer, or closed the connection.", "Check that wharf is running and try again."));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

/** Reads the answer while it arrives. */
class Reader {
  #report;
  #position = 0;
  #picture = null;

  constructor(report) {
    this.#report = report;
  }

  /** Some of the answer is there. Once its lines are over, the text is left alone until it ends. */
  arrived(request, length) {
    if (!this.#picture) this.#lines(request.responseText);
    if (this.#picture) this.#report("download", Math.min(1, (length - this.#position) / (this.#picture.length || 1)));
  }

  finish(text, started, uploaded) {
    if (!this.#picture) this.#lines(text);
    const picture = this.#picture;
    if (!picture || text.length - this.#position < picture.length) {
      throw new Failure("The answer is cut short", "The server stopped before the picture was complete.", "Its log says why; a limit of time or memory may have been reached.");
    }
    const ended = performance.now();
    const blob = new Blob([toBytes(text, this.#position, picture.length)], { type: picture.type });
    const { decode, filter, encode } = picture.timing;
    const [total, upload] = [ended - started, uploaded - started];
    const network = Math.max(0, total - upload - decode - filter - encode);
    return { blob, width: picture.width, height: picture.height, total, times: { upload, decode, filter, encode, network } };
  }

  #lines(text) {
    for (;;) {
      const end = text.indexOf("\n", this.#position);
      if (end < 0 || this.#picture) return;
      const line = JSON.parse(toText(text.slice(this.#position, end)));
      this.#position = end + 1;
      if (line.problem) throw failure(line.problem);
      if (line.progress) this.#report(line.progress.stage, line.progress.fraction);
      if (line.picture) this.#picture = line.picture;
    }
  }
}

/** What a status other than 200 means: problem details, or whatever stands in the way of them. */
function refusal(request) {
  const { status } = request;
  try {
    return failure(JSON.parse(toText(request.responseText)));
  } catch {
    const hint = status >= 500 ? "The server's log says more." : "";
    return new Failure("The server refused", `It answered ${status} ${request.statusText}.`, hint);
  }
}

function failure({ title, detail, hint }) {
  const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + ".";
  return new Failure(title, sentence(detail), sentence(hint));
}

function toBytes(text, start = 0, length = text.length) {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) bytes[i] = text.charCodeAt(start + i) & 0xff;
  return bytes;
}

const toText = (text) => new TextDecoder().decode(toBytes(text));
