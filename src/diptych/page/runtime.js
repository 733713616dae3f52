// What runs the network in the browser: ONNX Runtime in a worker.

const MOST_THREADS = 4;

/**
 * Opens the network of the page; `progress` is told the share of it that is there.
 * `run(inputs)` takes tensors { type, data, dims } by the names of the network, and gives { data, dims }.
 * A page with WebGPU compares the graphics processor with the processor on the inputs `trial`, and says which one it uses.
 */
async function openRuntime(about, trial, progress) {
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
      worker.onmessage = ({ data }) => {
        if (about.webgpu && data.runsOn) element("runs-on").textContent = data.runsOn;
        if ("error" in data) reject(new Error(data.error));
        else resolve(data.value);
      };
      worker.onerror = (event) => reject(new Error(event.message || "its worker could not start"));
      worker.postMessage({ call, argument }, given);
    });
    return (last = last.then(answer, answer));
  };

  // Threads need memory that is shared, which a browser gives to pages whose host sends two headers.
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  await ask("open", { wasm, glue, model, threads, trial: about.webgpu ? trial : null }, [wasm, glue, model]);
  return { run: (inputs) => ask("run", inputs) };
}
