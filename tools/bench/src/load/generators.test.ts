import assert from 'node:assert/strict';
import { test } from 'node:test';
import { h2loadLoad, sTimeLoad, wrkLoad } from './generators.ts';

const WRK = `Running 5s test @ http://127.0.0.1:8080/small
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.52ms  650.30us  12.00ms   80.11%
    Req/Sec    21.10k     1.30k   23.00k    70.00%
  104969 requests in 5.05s, 38.44MB read
Requests/sec:  20785.94
Transfer/sec:      7.61MB
`;

test('wrk’s count and time are read; a bad answer or a socket error fails the sample', () => {
  assert.deepEqual(wrkLoad(WRK), { count: 104_969, elapsedMs: 5_050 });
  assert.deepEqual(wrkLoad(WRK.replace('5.05s', '1.01m')), { count: 104_969, elapsedMs: 60_600 });
  assert.throws(() => wrkLoad(`${WRK}  Non-2xx or 3xx responses: 7\n`), /104969 answers, 7 of them bad/);
  assert.throws(() => wrkLoad(`${WRK}  Socket errors: connect 0, read 3, write 0, timeout 0\n`), /read 3/);
  assert.throws(() => wrkLoad(''), /no answer/);
});

const H2LOAD = `finished in 1.05s, 57142.86 req/s, 9.95MB/s
requests: 60000 total, 60000 started, 60000 done, 60000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 60000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 10.45MB (10957632) total, 1.96MB (2057632) headers (space savings 80.00%), 7.32MB (7680000) data
`;

test('h2load’s count and time are read; a request that failed fails the sample', () => {
  assert.deepEqual(h2loadLoad(H2LOAD), { count: 60_000, elapsedMs: 1_050 });
  assert.equal(h2loadLoad(H2LOAD.replace('1.05s', '105.00ms')).elapsedMs, 105);
  assert.throws(() => h2loadLoad(H2LOAD.replace('60000 succeeded', '59999 succeeded')), /59999 succeeded/);
  assert.throws(() => h2loadLoad(H2LOAD.replace('60000 2xx, 0 3xx, 0 4xx, 0 5xx', '59000 2xx, 0 3xx, 0 4xx, 1000 5xx')), /59000 with 2xx/);
  assert.throws(() => h2loadLoad(''), /of 0 requests/);
});

test('openssl s_time’s count is read by the wall clock, not by its own CPU time', () => {
  const output = '1501 connections in 1.22s; 1230.33 connections/user sec, bytes read 0\n1501 connections in 5 real seconds, 0 bytes read per connection\n';
  assert.deepEqual(sTimeLoad(output), { count: 1_501, elapsedMs: 5_000 });
  assert.throws(() => sTimeLoad('0 connections in 5 real seconds'), /made no connection/);
});
