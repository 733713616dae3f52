// Runs in a worker, after the library of ONNX Runtime: its text is taken, so it uses nothing of the page.

function serveNetwork() {
  let session;

  async function open({ wasm, glue, model, threads }) {
    ort.env.logLevel = "fatal";
    ort.env.wasm.wasmBinary = wasm;
    // An address that is made here: in a page from disk, a worker may not import what the page made.
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
    ort.env.wasm.numThreads = threads;
    session = await ort.InferenceSession.create(new Uint8Array(model), { logSeverityLevel: 4 });
  }

  async function run(inputs) {
    const tensors = {};
    for (const [name, { type, data, dims }] of Object.entries(inputs)) tensors[name] = new ort.Tensor(type, data, dims);
    const { result } = await session.run(tensors);
    return { data: result.data, dims: result.dims };
  }

  onmessage = async ({ data: { call, argument } }) => {
    try {
      postMessage({ value: await (call === "open" ? open : run)(argument) });
    } catch (error) {
      postMessage({ error: String(error?.message ?? error) });
    }
  };
}
