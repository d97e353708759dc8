// Jest's jest-worker with child processes, as a pool of one. The pool gives a
// worker one call at a time.
'use strict';

const {handle, main, orphan} = require('./common.js');

async function start() {
  const {Worker} = require('jest-worker');
  const pool = new Worker(__filename, {
    numWorkers: 1,
    exposedMethods: ['call'],
    forkOptions: {serialization: 'advanced'},
  });
  return {
    pid: await pool.call('pid'),
    call: (op, payload) => pool.call(op, payload),
    close: () => pool.end(),
  };
}

// What the worker process finds here.
exports.call = handle;

if (require.main === module) {
  main({
    name: 'jest-worker',
    config: "child processes, a pool of one worker, serialization 'advanced', bulk as messages of up to 1 MiB",
    orphan,
    version: `, jest-worker ${require('jest-worker/package.json').version}`,
    start,
  });
}
