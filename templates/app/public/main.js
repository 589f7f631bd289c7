const text = document.querySelector("#text");
const message = document.querySelector("#message");
const show = (id, value) => {
  document.querySelector(`#${id}`).textContent = value;
};

let newest = 0;

/** Asks the API about the text; an answer that a newer one overtook is dropped. */
async function ask() {
  const mine = ++newest;
  const started = performance.now();
  try {
    const response = await fetch("/api/words", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: text.value }),
    });
    if (!response.ok) {
      throw new Error(`${response.status}: ${await response.text()}`);
    }
    const answer = await response.json();
    if (mine === newest) {
      draw(answer, performance.now() - started);
    }
  } catch (error) {
    if (mine === newest) {
      message.textContent = `The API did not answer. ${error.message}`;
    }
  }
}

function draw(answer, milliseconds) {
  message.textContent = "";
  show("words", answer.words);
  show("characters", answer.characters);
  show("time", `${milliseconds.toFixed(1)} ms`);
  const most = Math.max(1, ...answer.top.map(({ count }) => count));
  document.querySelector("#top").replaceChildren(
    ...answer.top.map(({ word, count }) => {
      const item = document.createElement("li");
      const name = item.appendChild(document.createElement("span"));
      const bar = item.appendChild(document.createElement("span"));
      const number = item.appendChild(document.createElement("span"));
      name.className = "word";
      name.textContent = word;
      bar.className = "bar";
      bar.style.width = `${(100 * count) / most}%`;
      number.className = "count";
      number.textContent = count;
      return item;
    }),
  );
}

text.addEventListener("input", ask);
ask();
