// The server's end on real connections, on every engine there is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { HTTP_LIMITS, type Abort, type HttpLimits, type RequestHead, type ServerConnection, type ServerExchange } from '../http/exchange.ts';
import type { ByteStream, Transport } from '../transport/transport.ts';
import { serveHttp1 } from './server.ts';
import { ENGINES, withTransport } from './testing.ts';

type Handler = (head: RequestHead, exchange: ServerExchange) => void;

class Caller {
  text = '';
  closed = false;
  failed: NodeJS.ErrnoException | undefined;
  readonly socket: Socket;
  readonly end: Promise<unknown>;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')));
    this.socket.on('error', (error) => (this.failed = error));
    this.end = once(this.socket, 'close').catch(() => undefined).then(() => (this.closed = true));
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** Waits until the text received matches. */
  async sees(what: RegExp): Promise<void> {
    while (!what.test(this.text)) {
      assert.ok(!this.closed, `the connection closed; received: ${JSON.stringify(this.text)}`);
      await Promise.race([once(this.socket, 'data'), this.end]);
    }
  }
}

type Setting = { readonly port: number; readonly refused: string[]; readonly connections: ServerConnection[] };

for (const engine of ENGINES) {
  const scene = (name: string, handler: Handler, run: (setting: Setting) => Promise<void>, limits: Partial<HttpLimits> = {}): void => {
    test(`${engine}: ${name}`, () => withTransport(engine, async (transport) => {
      const { listener, ...setting } = await listen(transport, handler, { ...HTTP_LIMITS, ...limits });
      try {
        await run(setting);
      } finally {
        for (const connection of setting.connections) connection.destroy();
        listener.close();
      }
    }));
  };

  scene('a request is answered and the connection serves the next', (head, x) => {
    x.respond({ status: 200, headers: ['x-seen', `${head.method} ${head.target} ${head.authority} ${head.headers.join(' ')}`], bodyBytes: 2 }, false);
    x.write(Buffer.from('ok'));
    x.end();
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('GET /one HTTP/1.1\r\nHost: a\r\nX-Y: z\r\nKeep-Alive: 5\r\nConnection: x-drop\r\nX-Drop: 1\r\nTE: trailers\r\n\r\n');
    await caller.sees(/x-seen: GET \/one a x-y z\r\ncontent-length: 2\r\n\r\nok$/);
    caller.send('HEAD /two HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.sees(/x-seen: HEAD \/two a \r\ncontent-length: 2\r\n\r\n$/);
    caller.socket.destroy();
  });

  scene('pipelined requests are answered in order, one at a time', (head, x) => {
    setImmediate(() => {
      x.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
      x.write(Buffer.from(head.target));
      x.end();
    });
  }, async ({ port, connections }) => {
    const caller = new Caller(port);
    caller.send(Array.from({ length: 50 }, (_, i) => `GET /${i}. HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
    await caller.sees(/\/49\./);
    assert.deepEqual([...caller.text.matchAll(/\n\/(\d+)\./g)].map((m) => Number(m[1])), Array.from({ length: 50 }, (_, i) => i));
    assert.equal(connections.length, 1);
    caller.socket.destroy();
  });

  scene('a chunked response carries its trailers', (_head, x) => {
    x.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
    x.write(Buffer.from('hello'));
    x.end(['x-sum', '5']);
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.sees(/transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n$/);
    caller.socket.destroy();
  });

  scene('an old caller gets no chunks, and the end of its body is the end of the connection', (_head, x) => {
    x.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
    x.write(Buffer.from('hello'));
    x.end();
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    await caller.end;
    assert.equal(caller.text, 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello');
  });

  scene('a caller that waits for 100 Continue gets it when the owner says so', (_head, x) => {
    x.inform({ status: 103, headers: ['link', '</a>'], bodyBytes: 0 });
    x.inform({ status: 100, headers: [], bodyBytes: 0 });
    let body = '';
    x.receive({
      data: (chunk) => void (body += chunk.toString()),
      end: () => {
        x.respond({ status: 200, headers: ['x-body', body], bodyBytes: 0 }, true);
      },
      abort: () => undefined,
    });
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
    await caller.sees(/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 100 Continue\r\n\r\n$/);
    caller.send('hello');
    await caller.sees(/x-body: hello/);
    caller.socket.destroy();
  });

  scene('a caller answered without 100 Continue cannot be told from one that sends its body: the connection ends', (_head, x) => {
    x.respond({ status: 403, headers: [], bodyBytes: 0 }, true);
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n');
    await caller.end;
    assert.match(caller.text, /^HTTP\/1\.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n$/);
  });

  scene('the rest of a small body nobody took is read, and the connection lives', (_head, x) => x.respond({ status: 200, headers: [], bodyBytes: 0 }, true), async ({ port }) => {
    const caller = new Caller(port);
    caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe');
    await caller.sees(/200 OK/);
    caller.send('lloGET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.sees(/200 OK[^]*200 OK/);
    caller.socket.destroy();
  });

  scene('the rest of a large body nobody took ends the connection', (_head, x) => x.respond({ status: 200, headers: [], bodyBytes: 0 }, true), async ({ port }) => {
    const caller = new Caller(port);
    caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n');
    caller.socket.write(Buffer.alloc(5_000_000));
    await caller.end;
    assert.match(caller.text, /^HTTP\/1\.1 200 OK/);
  });

  {
    let source: ServerExchange | undefined;
    let taken = 0;
    scene('a body whose taker pauses stops coming, and comes whole when it goes on', (_head, x) => {
      source = x;
      x.receive({
        data(chunk) {
          taken += chunk.length;
          if (taken < 1_000_000) x.pauseBody();
        },
        end: () => x.respond({ status: 200, headers: ['x-taken', `${taken}`], bodyBytes: 0 }, true),
        abort: () => undefined,
      });
    }, async ({ port }) => {
      const caller = new Caller(port);
      caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n');
      caller.socket.write(Buffer.alloc(30_000_000));
      for (let before = -1; before < 1_000_000;) {
        before = taken;
        source?.resumeBody();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await caller.sees(/x-taken: 30000000/);
      caller.socket.destroy();
    });
  }

  {
    let taken = 0;
    scene('a body taken late by a taker that pauses at once does not flow', (_head, x) => {
      setTimeout(() => {
        x.receive({
          data(chunk) {
            taken += chunk.length;
            x.pauseBody();
          },
          end: () => x.respond({ status: 200, headers: ['x-taken', `${taken}`], bodyBytes: 0 }, true),
          abort: () => undefined,
        });
        let turns = 0;
        const look = (): void => {
          assert.ok(taken <= 200_000, `${taken} bytes came though paused`);
          turns += 1;
          if (turns < 50) return void setImmediate(look);
          x.respond({ status: 200, headers: [], bodyBytes: 0 }, true);
        };
        look();
      }, 20);
    }, async ({ port }) => {
      const caller = new Caller(port);
      caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n');
      caller.socket.write(Buffer.alloc(5_000_000));
      await caller.sees(/200 OK/);
      caller.socket.destroy();
    });
  }

  {
    const heard: string[] = [];
    scene('a taker that gives up hears nothing more, not even the rest of one read', (_head, x) => {
      x.receive({
        data(chunk) {
          heard.push(chunk.toString());
          x.abort({ reason: 'cancelled', detail: 'enough' });
        },
        end: () => void heard.push('end'),
        abort: () => void heard.push('abort'),
      });
    }, async ({ port }) => {
      const caller = new Caller(port);
      caller.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n');
      await caller.end;
      assert.deepEqual(heard, ['a', 'abort']);
    });
  }

  {
    let full = 0;
    scene('a slow reader holds the response back', (_head, x) => {
      let left = 400;
      const chunk = Buffer.alloc(65_536, 'x');
      x.respond({ status: 200, headers: [], bodyBytes: left * chunk.length }, false);
      const more = (): void => {
        while (left > 0) {
          left -= 1;
          if (!x.write(chunk)) {
            full += 1;
            return;
          }
        }
        x.onDrain = undefined;
        x.end();
      };
      x.onDrain = more;
      more();
    }, async ({ port }) => {
      const caller = connect({ port, host: '127.0.0.1' });
      caller.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      let bytes = 0;
      for await (const chunk of caller) bytes += (chunk as Buffer).length;
      assert.ok(bytes > 400 * 65_536);
      assert.ok(full > 2, `held back ${full} times`);
    });
  }

  {
    const ends: string[] = [];
    const gone = Promise.withResolvers<void>();
    scene('a caller that goes away in the middle of its body aborts it', (_head, x) => {
      x.onAbort = (why: Abort) => {
        ends.push(`response ${why.reason}`);
        gone.resolve();
      };
      x.receive({ data: () => undefined, end: () => void ends.push('end'), abort: (why) => void ends.push(`body ${why.reason}`) });
    }, async ({ port }) => {
      const caller = new Caller(port);
      caller.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello');
      caller.socket.end();
      await gone.promise;
      assert.deepEqual(ends, ['body closed', 'response closed']);
    });
  }

  {
    const gone = Promise.withResolvers<Abort>();
    scene('a caller that goes away while it waits is reported at once', (_head, x) => void (x.onAbort = gone.resolve), async ({ port }) => {
      const caller = new Caller(port);
      caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      caller.socket.end();
      assert.equal((await gone.promise).reason, 'closed');
    });
  }

  scene('a response cut off in the middle is a reset, never a clean end', (_head, x) => {
    x.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
    x.write(Buffer.from('hello'));
    setTimeout(() => x.abort({ reason: 'closed', detail: 'the origin went away' }), 20);
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.0\r\n\r\n');
    await caller.end;
    assert.equal(caller.failed?.code, 'ECONNRESET');
  });

  scene('a response shorter or longer than its length is cut off, never completed', (head, x) => {
    x.respond({ status: 200, headers: [], bodyBytes: 5 }, false);
    x.write(Buffer.from(head.target === '/short' ? 'abc' : 'abcdefgh'));
    x.end();
  }, async ({ port }) => {
    for (const target of ['/short', '/long']) {
      const caller = new Caller(port);
      caller.send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await caller.end;
      assert.equal(caller.failed?.code, 'ECONNRESET', target);
      assert.doesNotMatch(caller.text, /abcde/);
    }
  });

  scene('a field that would add a line is never sent', (head, x) => {
    const value = { '/crlf': 'a\r\nx-evil: 1', '/lf': 'a\nx-evil: 1', '/wide': 'a\u010ax-evil: 1', '/nul': 'a\0' }[head.target] ?? 'a';
    x.respond({ status: 200, headers: head.target === '/name' ? ['x: y\r\nx-evil', '1'] : ['x', value], bodyBytes: 0 }, true);
  }, async ({ port }) => {
    for (const target of ['/crlf', '/lf', '/wide', '/nul', '/name']) {
      const caller = new Caller(port);
      caller.send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      await caller.end;
      assert.equal(caller.text, '', target);
    }
  });

  scene('an upgrade passes bytes both ways, those sent early too', (head, x) => {
    assert.equal(head.upgrade, 'websocket');
    assert.deepEqual(head.headers, ['sec-websocket-key', 'abc']);
    x.switchProtocols({ status: 101, headers: ['sec-websocket-accept', 'def'], bodyBytes: 0 });
    x.receive({ data: (chunk) => void x.write(chunk), end: () => x.end(), abort: () => undefined });
  }, async ({ port }) => {
    const caller = new Caller(port);
    caller.send('GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: abc\r\n\r\nearly');
    await caller.sees(/^HTTP\/1\.1 101 Switching Protocols\r\nsec-websocket-accept: def\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly$/);
    caller.send('GET / HTTP/1.1\r\n\r\n');
    await caller.sees(/earlyGET \/ HTTP\/1\.1\r\n\r\n$/);
    caller.socket.end();
    await caller.end;
    assert.equal(caller.failed, undefined);
  });

  scene('an upgrade that is answered plainly leaves the connection as it was', (_head, x) => x.respond({ status: 426, headers: [], bodyBytes: 0 }, true), async ({ port }) => {
    const caller = new Caller(port);
    const ask = 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    caller.send(ask + ask);
    await caller.sees(/426[^]*426/);
    caller.socket.destroy();
  });

  scene('draining answers the request under way and closes', (_head, x) => setImmediate(() => x.respond({ status: 200, headers: [], bodyBytes: 0 }, true)), async ({ port, connections }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    while (connections[0]?.active !== 1) await new Promise((resolve) => setImmediate(resolve));
    connections[0]?.drain();
    await caller.end;
    assert.match(caller.text, /^HTTP\/1\.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n$/);
  });

  scene('draining closes an idle connection', () => undefined, async ({ port, connections }) => {
    const caller = new Caller(port);
    while (connections[0] === undefined) await new Promise((resolve) => setImmediate(resolve));
    connections[0].drain();
    await caller.end;
    assert.equal(caller.text, '');
  });

  scene('a head that does not come whole in time is refused with 408', () => undefined, async ({ port, refused }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.1\r\nHost:');
    await caller.end;
    assert.match(caller.text, /^HTTP\/1\.1 408 /);
    assert.deepEqual(refused, ['head-timeout']);
  }, { headMs: 60 });

  scene('a second head that does not come whole in time is refused too, however slowly it drips', (_head, x) => x.respond({ status: 200, headers: [], bodyBytes: 0 }, true), async ({ port, refused }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.sees(/200 OK/);
    const drip = setInterval(() => caller.send('G'), 10);
    await caller.end;
    clearInterval(drip);
    assert.match(caller.text, /HTTP\/1\.1 408 /);
    assert.deepEqual(refused, ['head-timeout']);
  }, { headMs: 60 });

  scene('an idle connection closes without a word', (_head, x) => x.respond({ status: 200, headers: [], bodyBytes: 0 }, true), async ({ port, refused }) => {
    const caller = new Caller(port);
    caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.end;
    assert.equal(caller.text, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    assert.deepEqual(refused, []);
  }, { keepAliveMs: 40, headMs: 40 });

  {
    const gone = Promise.withResolvers<Abort>();
    scene('an exchange on which nothing moves is given up', (_head, x) => void (x.onAbort = gone.resolve), async ({ port }) => {
      const caller = new Caller(port);
      caller.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.equal((await gone.promise).reason, 'timeout');
      await caller.end;
    }, { idleMs: 40, headMs: 40 });
  }
}

test('an owner that throws loses that connection, and is heard', () => {
  const [side] = duplexPair();
  const stream = Object.assign(side, { bytesRead: 0, bytesWritten: 0 }) as unknown as ByteStream;
  let heard: Abort | undefined;
  const onRequest: Handler = (_head, x) => {
    x.onAbort = (why) => void (heard = why);
    throw new Error('a fault');
  };
  serveHttp1(stream, { limits: HTTP_LIMITS, peer: undefined, scheme: 'http', clock: systemClock, handlers: { onRequest, onRefused: () => undefined } });
  assert.throws(() => side.emit('data', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')), /a fault/);
  assert.equal(stream.destroyed, true);
  assert.equal(heard?.reason, 'cancelled');
});

async function listen(transport: Transport, handler: Handler, limits: HttpLimits): Promise<Setting & { readonly listener: { close(): void } }> {
  const refused: string[] = [];
  const connections: ServerConnection[] = [];
  const listener = await transport.listen({ listen: { host: '127.0.0.1', port: 0 }, label: 'test', allowHalfOpen: true, connections: 100 }, (stream) => {
    connections.push(
      serveHttp1(stream, {
        limits,
        peer: 'test',
        scheme: 'http',
        clock: transport.clock,
        reset: (s) => transport.reset(s),
        handlers: { onRequest: handler, onRefused: (code) => void refused.push(code) },
      }),
    );
  });
  return { port: listener.port, refused, connections, listener };
}
