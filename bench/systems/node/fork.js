// Node's own child_process.fork, with requests numbered by hand. A worker ends
// when its channel does, unless its thread is busy.
'use strict';

const {fork} = require('node:child_process');
const {once} = require('node:events');
const {handle, main, orphan} = require('./common.js');

// serve is the worker.
function serve() {
  process.on('message', ([id, op, payload]) => process.send([id, handle(op, payload)]));
}

async function start() {
  const child = fork(__filename, ['worker'], {serialization: 'advanced'});
  const pending = new Map(); // what settles a call, by its number
  let last = 0;
  child.on('message', ([id, result]) => {
    pending.get(id).resolve(result);
    pending.delete(id);
  });
  const ended = once(child, 'exit');
  child.on('exit', () => pending.forEach(({reject}) => reject(new Error('the worker has ended'))));
  await once(child, 'spawn');
  return {
    pid: child.pid,
    call: (op, payload) =>
      new Promise((resolve, reject) => {
        pending.set(++last, {resolve, reject});
        child.send([last, op, payload]);
      }),
    close() {
      child.disconnect();
      return ended;
    },
  };
}

if (process.argv[2] === 'worker') {
  serve();
} else {
  main({
    name: 'node-fork',
    config: "child_process.fork with serialization 'advanced', requests numbered by hand, bulk as 4 messages of up to 1 MiB in flight",
    orphan,
    version: '',
    start,
  });
}
