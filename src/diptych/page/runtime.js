// What runs the network. The page uses `run` of it alone, so that another runtime can take its place.

const MOST_THREADS = 4;

/**
 * Opens the network of the page; `progress` is told the share of it that is there.
 * `run(inputs)` takes tensors { type, data, dims } by the names of the network, and gives { data, dims }.
 */
async function openRuntime(about, progress) {
  const all = Object.values(about.parts).reduce((sum, size) => sum + size, 0);
  let there = 0;
  const load = (name) => loadPart(name, (size) => progress((there += size) / all));
  const library = await load("library"), glue = await load("glue");
  const wasm = await load("wasm"), model = await load("model");
  const script = new Blob([library, `\n(${serveNetwork})();`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(script));

  let last = Promise.resolve();
  const ask = (call, argument, given = []) => {
    const answer = () => new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data.value));
      worker.onerror = (event) => reject(new Error(event.message || "its worker could not start"));
      worker.postMessage({ call, argument }, given);
    });
    return (last = last.then(answer, answer));
  };

  // Threads need memory that is shared, which a browser gives to pages whose host sends two headers.
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  await ask("open", { wasm, glue, model, threads }, [wasm, glue, model]);
  return { run: (inputs) => ask("run", inputs) };
}
