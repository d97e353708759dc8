// What the programs of this folder share: the roles and the measurements that
// package harness has for programs in Go, in the same words and with the same
// output. Its documentation holds here too.
//
// A system is an object with
//   name, config, orphan, version: what "describe" says
//   start(): a promise of a worker, which is an object with
//     pid
//     call(op, payload): a promise of what handle returns in the worker
//     close(): a promise that is kept when the worker has ended
'use strict';

const fs = require('node:fs');
const v8 = require('node:v8');
const vm = require('node:vm');

// small is the size of a payload that does not matter.
const small = 64;

// A push is messages, as none of these systems has streams: inFlight are under
// way at once, and none is larger than chunk.
const inFlight = 4;
const chunk = 1 << 20;

// minBulk is how often a bulk transfer is made at least.
const minBulk = 3;

// What a receipt is made of: a byte in 64, and the prime of the 32-bit FNV hash.
const stride = 64;
const prime = 16777619;

// orphan is true of all systems here: a worker ends when the channel is closed
// and nothing else keeps its event loop.
const orphan = 'leave with the channel to their owner, but stay for as long as a call keeps their only thread';

// atOnce is how many workers a holder starts at a time.
const atOnce = 8;

// spinDelay, in milliseconds, is the time for the answer to leave before the
// worker's only thread is busy for ever.
const spinDelay = 10;

// handle is what a worker does with a request.
function handle(op, payload) {
  if (op === 'sink') {
    return receiptOf(payload);
  }
  if (op === 'pid') {
    return process.pid;
  }
  if (payload.byteLength === 4 && Buffer.from(payload).toString() === 'spin') {
    setTimeout(() => {
      for (;;);
    }, spinDelay);
  }
  return payload;
}

// run plays the role that the arguments ask for.
async function run(system) {
  const [role, ...args] = process.argv.slice(2);
  const roles = {describe, driver, hold};
  if (!Object.hasOwn(roles, role)) {
    throw new Error(`unknown role ${role}`);
  }
  await roles[role](system, args);
}

// main runs a program that is not a worker.
function main(system) {
  run(system).catch(error => {
    console.error(`${system.name}: ${error.message}`);
    process.exit(1); // with its workers' channels
  });
}

function print(value) {
  console.log(JSON.stringify(value));
}

function describe(system) {
  const {name, config, orphan, version} = system;
  print({name, config, orphan, attach: false, version: `node ${process.version}${version}`});
}

const sections = {latency, throughput, bulk, cold};

async function driver(system, [section, ...args]) {
  if (!Object.hasOwn(sections, section)) {
    throw new Error(`unknown section ${section}`);
  }
  const options = Object.fromEntries(args.map(arg => arg.split('=')));
  const number = (key, otherwise) => (key in options ? Number(options[key]) : otherwise);
  print(await sections[section](system, number));
}

// withWorker starts a worker for the time of measure.
async function withWorker(system, measure) {
  const worker = await system.start();
  try {
    return await measure(worker);
  } finally {
    await worker.close();
  }
}

// latency measures echoes by one caller.
function latency(system, number) {
  return withWorker(system, async worker => ({
    ...(await calls(worker, 'unary64', 1, bytes(small), number)).metrics,
    ...(await calls(worker, 'unary64k', 1, bytes(64 << 10), number)).metrics,
  }));
}

// throughput measures echoes by many callers.
function throughput(system, number) {
  return withWorker(system, async worker => {
    const {metrics, rate} = await calls(worker, 'calls', number('callers', 64), bytes(small), number);
    return {...metrics, 'calls.rate': rate};
  });
}

// calls warms up and then calls for as long as the key "ms" says.
async function calls(worker, name, callers, payload, number) {
  const perCaller = Math.floor(number('warmup', 2000) / callers) + 1;
  const each = f => Promise.all(Array.from({length: callers}, f));
  await each(async () => {
    for (let i = 0; i < perCaller; i++) {
      await checked(worker, payload);
    }
  });
  const cpu = cpuTime(worker.pid) + cpuTime(process.pid);
  const began = performance.now();
  const until = began + number('ms', 1000);
  const times = (await each(() => repeat(worker, payload, until))).flat().sort((a, b) => a - b);
  const seconds = (performance.now() - began) / 1e3;
  const used = cpuTime(worker.pid) + cpuTime(process.pid) - cpu;
  return {
    metrics: {
      [`${name}.p50`]: quantile(times, 0.5),
      [`${name}.p99`]: quantile(times, 0.99),
      [`${name}.cpu`]: used / times.length,
    },
    rate: times.length / seconds,
  };
}

// repeat calls until the time has come and returns how long each call took, in
// nanoseconds.
async function repeat(worker, payload, until) {
  const times = [];
  for (let began = performance.now(); began < until; ) {
    await worker.call('echo', payload);
    const ended = performance.now();
    times.push((ended - began) * 1e6);
    began = ended;
  }
  return times;
}

// Name, size, what is done first and looks at what came of it, and what is done
// again. The sizes are multiples of what push divides them by.
const transfers = [
  ['push1m', 1 << 20, push, push],
  ['echo1m', 1 << 20, checked, echo],
  ['push64m', 64 << 20, push, push],
  ['echo64m', 64 << 20, checked, echo],
];

// bulk measures the bytes per second that go one way, and the greatest memory
// of both processes.
function bulk(system, number) {
  return withWorker(system, async worker => {
    const metrics = {};
    for (const [name, size, first, again] of transfers) {
      try {
        metrics[name] = await rate(worker, first, again, size, number('ms', 1000));
      } catch (error) {
        console.error(`note ${name}: ${error.message}`);
      }
    }
    metrics['parent.peak'] = memory(process.pid, 'VmHWM');
    metrics['worker.peak'] = memory(worker.pid, 'VmHWM');
    return metrics;
  });
}

// rate repeats a transfer for as many milliseconds, and at least minBulk times,
// after a first one that warms up.
async function rate(worker, first, again, size, ms) {
  const data = bytes(size);
  await first(worker, data);
  const began = performance.now();
  let n = 0;
  while (n < minBulk || performance.now() - began < ms) {
    await again(worker, data);
    n++;
  }
  return (n * size) / ((performance.now() - began) / 1e3);
}

function echo(worker, data) {
  return worker.call('echo', data);
}

// push sends as many bytes in chunks, some at once. A chunk is a buffer of its
// own and no part of a larger one, which a message port would copy whole.
async function push(worker, {byteLength}) {
  const part = content(Math.min(chunk, byteLength / inFlight));
  let left = byteLength;
  async function send() {
    while (left > 0) {
      left -= part.byteLength;
      const sent = receiptOf(part);
      const confirmed = await worker.call('sink', part);
      if (confirmed !== sent) {
        throw new Error(`sent ${sent}, and the worker has got ${confirmed}`);
      }
    }
  }
  await Promise.all(Array.from({length: inFlight}, send));
}

// content returns n bytes for pushes, the same buffer for the same n.
function content(n) {
  if (!contents.has(n)) {
    contents.set(n, bytes(n));
  }
  return contents.get(n);
}

const contents = new Map();

// receiptOf is String of package harness's Receipt of one message.
function receiptOf(data) {
  let sum = 0;
  for (let i = 0; i < data.byteLength; i += stride) {
    sum = Math.imul(sum ^ data[i], prime);
  }
  return `${data.byteLength} bytes with checksum ${(sum >>> 0).toString(16).padStart(8, '0')}`;
}

// cold measures one start, from its beginning to the first reply.
async function cold(system) {
  const began = performance.now();
  return withWorker(system, async worker => {
    await worker.call('echo', bytes(small));
    return {start: (performance.now() - began) * 1e6};
  });
}

// hold starts workers, says so, and keeps them until standard input ends.
async function hold(system, [count, busy]) {
  const first = busy === 'spin' ? Buffer.from('spin') : bytes(small);
  const workers = [];
  const grow = async n => {
    while (n-- > 0) {
      const worker = await system.start();
      workers.push(worker);
      await checked(worker, first);
    }
  };
  await grow(1);
  const one = state();
  const rest = Number(count) - 1;
  const shares = Array.from({length: atOnce}, (_, i) => Math.floor((rest + i) / atOnce));
  await Promise.all(shares.map(grow));
  print({workers: workers.map(({pid}) => ({pid})), one, all: state()});
  for await (const _ of process.stdin);
  await Promise.all(workers.map(worker => worker.close()));
}

// state returns this process's after a garbage collection.
function state() {
  v8.setFlagsFromString('--expose-gc');
  vm.runInNewContext('gc')();
  return {memory: memory(process.pid, 'VmRSS')};
}

// checked is an echo whose reply is looked at.
async function checked(worker, payload) {
  if (Buffer.compare(await worker.call('echo', payload), payload) !== 0) {
    throw new Error('the reply differs from the request');
  }
}

// bytes returns n bytes, of which no cache line is like the one before.
function bytes(n) {
  const b = Buffer.alloc(n);
  for (let i = 0; i < n; i++) {
    b[i] = i * 7 + (i >> 8);
  }
  return b;
}

// quantile returns the smallest of the ascending values that the share q of them
// does not exceed.
function quantile(ascending, q) {
  return ascending[Math.max(0, Math.ceil(q * ascending.length) - 1)];
}

// cpuTime returns the processor time of all threads of a process, in
// nanoseconds.
function cpuTime(pid) {
  let total = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    total += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return total;
}

// memory returns a size of a process in bytes by its name in /proc/PID/status.
function memory(pid, name) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(status)[1]) * 1024;
}

module.exports = {main, handle, orphan, receiptOf};
