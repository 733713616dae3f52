// Runs in a worker, after the library of ONNX Runtime: its text is taken, so it uses nothing of the page.

function serveNetwork() {
  const MOST = 2, MOST_IN_THE_MEAN = 0.05; // levels, as in the check of an exported file
  const GPU = "the graphics processor (WebGPU)", CPU = "the processor (WebAssembly)";
  let session, model, runsOn = CPU;

  async function open({ wasm, glue, model: bytes, threads, trial }) {
    ort.env.logLevel = "fatal";
    ort.env.wasm.wasmBinary = wasm;
    // An address that is made here: in a page from disk, a worker may not import what the page made.
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
    ort.env.wasm.numThreads = threads;
    model = new Uint8Array(bytes);
    session = await openOn("wasm");
    if (trial) await tryGpu(trial);
    if (runsOn !== GPU) model = null; // otherwise it is kept, for the day that the graphics processor fails
  }

  const openOn = (provider) =>
    ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 4 });

  /** Computes on the graphics processor from now on, if it makes the same of `trial`. */
  async function tryGpu(trial) {
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    if (!adapter) return void (runsOn = `${CPU}; this browser gives no WebGPU`);
    let other;
    try {
      other = await openOn("webgpu");
      if (areEqual(await computed(other, trial), await computed(session, trial))) {
        [session, other, runsOn] = [other, session, GPU];
      } else {
        runsOn = `${CPU}; the graphics processor makes something else`;
      }
    } catch (error) {
      runsOn = `${CPU}; the graphics processor fails: ${messageOf(error)}`;
    }
    await other?.release().catch(() => {}); // the one of the two that is not used
  }

  function areEqual(one, other) {
    let largest = 0, sum = 0;
    one.data.forEach((level, i) => {
      const difference = Math.abs(level - other.data[i]);
      largest = Math.max(largest, difference);
      sum += difference;
    });
    return String(one.dims) === String(other.dims) && largest <= MOST && sum <= MOST_IN_THE_MEAN * one.data.length;
  }

  async function run(inputs) {
    if (runsOn !== GPU) return computed(session, inputs);
    try {
      return await computed(session, inputs);
    } catch (error) { // such as a driver that was restarted
      session = await openOn("wasm");
      model = null;
      runsOn = `${CPU}; the graphics processor failed: ${messageOf(error)}`;
      return computed(session, inputs);
    }
  }

  async function computed(session, inputs) {
    const tensors = {};
    for (const [name, { type, data, dims }] of Object.entries(inputs)) tensors[name] = new ort.Tensor(type, data, dims);
    const { result } = await session.run(tensors);
    return { data: result.data, dims: result.dims };
  }

  const messageOf = (error) => String(error?.message ?? error);

  onmessage = async ({ data: { call, argument } }) => {
    try {
      postMessage({ value: await (call === "open" ? open : run)(argument), runsOn });
    } catch (error) {
      postMessage({ error: messageOf(error), runsOn });
    }
  };
}
