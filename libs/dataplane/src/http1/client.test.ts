// The client's end on real connections, on every engine there is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { type ClientConnection, HTTP_LIMITS, type HttpLimits } from '../http/exchange.ts';
import { openHttp1 } from './client.ts';
import { ENGINES, requestOf, takeResponse, withTransport } from './testing.ts';

type Origin = (socket: Socket, text: () => string) => void;

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

for (const engine of ENGINES) {
  const scene = (name: string, origin: Origin, run: (connection: ClientConnection, sockets: Socket[]) => Promise<void>, limits: Partial<HttpLimits> = {}): void => {
    test(`${engine}: ${name}`, () => withTransport(engine, async (transport) => {
      const sockets: Socket[] = [];
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        sockets.push(socket);
        let text = '';
        socket.on('error', () => undefined);
        socket.on('data', (chunk: Buffer) => {
          text += chunk.toString('latin1');
          origin(socket, () => text);
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      const stream = await transport.dial({ host: '127.0.0.1', port, timeoutMs: 5_000, allowHalfOpen: true });
      const connection = openHttp1(stream, { limits: { ...HTTP_LIMITS, ...limits }, clock: transport.clock });
      while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve));
      try {
        await run(connection, sockets);
      } finally {
        connection.destroy();
        for (const socket of sockets) socket.destroy();
        server.close();
      }
    }));
  };

  {
    let seen = '';
    scene('a request is written as it should be, and the connection serves the next', (socket, text) => {
      seen = text();
      socket.write(OK);
    }, async (connection) => {
      const sink = takeResponse();
      connection.request(requestOf({ headers: ['x-y', 'z', 'connection', 'close', 'content-length', '7', 'transfer-encoding', 'chunked', 'host', 'evil'] }), true, sink);
      assert.equal(connection.free, 0);
      assert.equal(connection.active, 1);
      await sink.over;
      assert.equal(seen, 'GET /a HTTP/1.1\r\nhost: a.example\r\nx-y: z\r\n\r\n');
      assert.equal(sink.body, 'ok');
      assert.equal(sink.bodyBytes, 2);
      assert.equal(connection.free, 1);
      const second = takeResponse();
      connection.request(requestOf({ method: 'POST' }), true, second);
      await second.over;
      assert.ok(seen.endsWith('POST /a HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n'));
    });
  }

  {
    let seen = '';
    scene('bodies of known and of unknown length are framed as such', (socket, text) => {
      seen = text();
      if (/hello$|0\r\nx-sum: 5\r\n\r\n$/.test(seen)) socket.write(OK);
    }, async (connection) => {
      const known = takeResponse();
      const one = connection.request(requestOf({ method: 'PUT', bodyBytes: 5 }), false, known);
      one.write(Buffer.from('hel'));
      one.write(Buffer.from('lo'));
      one.end();
      await known.over;
      assert.ok(seen.endsWith('content-length: 5\r\n\r\nhello'));
      const unknown = takeResponse();
      const two = connection.request(requestOf({ method: 'PUT', bodyBytes: undefined }), false, unknown);
      two.write(Buffer.from('hello'));
      two.end(['x-sum', '5']);
      await unknown.over;
      assert.ok(seen.endsWith('transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n'));
      assert.equal(connection.free, 1);
    });
  }

  {
    let seen = '';
    scene('a body longer or shorter than its length is cut off', (_socket, text) => void (seen = text()), async (connection, sockets) => {
      const sink = takeResponse();
      const request = connection.request(requestOf({ method: 'PUT', bodyBytes: 5 }), false, sink);
      request.write(Buffer.from('hel'));
      while (!seen.endsWith('hel')) await new Promise((resolve) => setImmediate(resolve));
      request.end();
      await sink.over;
      assert.equal(sink.aborted?.reason, 'protocol');
      await Promise.race([once(sockets[0] as Socket, 'end'), once(sockets[0] as Socket, 'close')]);
      assert.ok(seen.endsWith('hel'));
    });
  }

  scene('what HTTP/1.1 cannot say is not sent', (socket) => socket.destroy(), async (connection) => {
    for (const change of [{ target: '/a b' }, { target: '/a\r\nx: y' }, { target: 'a' }, { method: 'GET ' }, { authority: 'a\r\nb' }, { authority: 'a/b' }, { headers: ['x', 'a\r\nb'] }, { headers: ['x y', 'a'] }, { headers: ['x', '\u010a'] }]) {
      const sink = takeResponse();
      connection.request(requestOf(change), true, sink);
      await sink.over;
      assert.equal(sink.aborted?.reason, 'protocol', JSON.stringify(change));
    }
    assert.equal(connection.free, 1);
  });

  scene('an early answer is taken, and a connection whose request is unfinished is not used again', (socket) => socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n'), async (connection) => {
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    const sink = takeResponse();
    const request = connection.request(requestOf({ method: 'POST', bodyBytes: 1_000_000 }), false, sink);
    request.write(Buffer.alloc(1_000));
    await sink.over;
    assert.equal(sink.status, 413);
    assert.equal(request.write(Buffer.alloc(1_000)), true);
    request.end();
    await closed;
    assert.equal(connection.free, 0);
  });

  scene('100 Continue is passed on before the body is sent', (socket, text) => {
    if (text().endsWith('expect: 100-continue\r\n\r\n')) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    else if (text().endsWith('hello')) socket.write(OK);
  }, async (connection) => {
    const sink = takeResponse();
    const request = connection.request(requestOf({ method: 'POST', bodyBytes: 5, expectsContinue: true }), false, sink);
    sink.onInform = (head) => {
      assert.equal(head.status, 100);
      request.write(Buffer.from('hello'));
      request.end();
    };
    await sink.over;
    assert.equal(sink.status, 200);
    assert.equal(connection.free, 1);
  });

  scene('bytes on an idle connection close it', (socket) => socket.write(OK), async (connection, sockets) => {
    const sink = takeResponse();
    connection.request(requestOf(), true, sink);
    await sink.over;
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    (sockets[0] as Socket).write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
    await closed;
    assert.equal(connection.free, 0);
  });

  for (const first of ['HTTP/1.1 204 No Content\r\n\r\n', OK, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n']) {
    scene(`a second answer in one read with ${JSON.stringify(first.slice(9, 40))} is never given to the next request`, (socket) => socket.write(`${first}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`), async (connection) => {
      const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
      const next = takeResponse();
      connection.onFree = () => void connection.request(requestOf(), true, next);
      connection.request(requestOf(), true, takeResponse());
      await closed;
      assert.equal(next.status, 0);
    });
  }

  scene('an idle connection that the origin closes takes no request', (socket) => socket.end(OK), async (connection) => {
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    const sink = takeResponse();
    connection.request(requestOf(), true, sink);
    await sink.over;
    await closed;
    const late = takeResponse();
    connection.request(requestOf(), true, late);
    await late.over;
    assert.equal(late.aborted?.reason, 'not-sent');
  });

  scene('an origin that closes without an answer: the request was sent', (socket) => void socket.end(), async (connection) => {
    const sink = takeResponse();
    connection.request(requestOf({ method: 'POST' }), true, sink);
    await sink.over;
    assert.equal(sink.aborted?.reason, 'closed');
  });

  scene('an origin that resets: the request was sent', (socket) => void socket.resetAndDestroy(), async (connection) => {
    const sink = takeResponse();
    connection.request(requestOf({ method: 'POST' }), true, sink);
    await sink.over;
    assert.equal(sink.aborted?.reason, 'reset');
  });

  scene('a request held back until its connection has gone was not sent', () => undefined, async (connection) => {
    const sink = takeResponse();
    connection.request(requestOf({ method: 'POST', bodyBytes: 5 }), false, sink); // the head leaves when the turn ends
    connection.destroy();
    await sink.over;
    assert.equal(sink.aborted?.reason, 'not-sent');
    const late = takeResponse();
    connection.request(requestOf(), true, late);
    await late.over;
    assert.equal(late.aborted?.reason, 'not-sent');
  });

  {
    const big = Buffer.alloc(20_000_000, 'x');
    scene('a response whose taker pauses stops coming', (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n`);
      socket.write(big);
    }, async (connection) => {
      const sink = takeResponse();
      let bytes = 0;
      let pauses = 0;
      sink.onData = (chunk) => {
        bytes += chunk.length;
        sink.body = '';
        if (pauses < 50) {
          pauses += 1;
          request.pauseBody();
          const before = bytes;
          setImmediate(() => {
            assert.ok(bytes - before <= 262_144, `${bytes - before} came while paused`);
            request.resumeBody();
          });
        }
      };
      const request = connection.request(requestOf(), true, sink);
      await sink.over;
      assert.equal(bytes, big.length);
      assert.equal(pauses, 50);
      assert.equal(connection.free, 1);
    });
  }

  {
    let bytes = 0;
    scene('an origin that reads slowly holds the request back', (socket, text) => {
      bytes = text().length;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
      if (bytes > 30_000_000) socket.write(OK);
    }, async (connection) => {
      const sink = takeResponse();
      const request = connection.request(requestOf({ method: 'PUT', bodyBytes: 30_000_000 }), false, sink);
      const chunk = Buffer.alloc(100_000);
      let left = 300;
      let full = 0;
      sink.onDrain = () => {
        while (left > 0) {
          left -= 1;
          if (!request.write(chunk)) {
            full += 1;
            return;
          }
        }
        request.end();
      };
      sink.onDrain();
      await sink.over;
      assert.equal(sink.status, 200);
      assert.ok(full > 2, `held back ${full} times`);
    });
  }

  scene('a switch of protocols passes bytes both ways, and half of it may end first', (socket, text) => {
    if (text().endsWith('\r\n\r\n')) socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nearly');
    if (text().endsWith('ping')) socket.end('pong');
  }, async (connection, sockets) => {
    const sink = takeResponse();
    const request = connection.request(requestOf({ upgrade: 'websocket' }), true, sink);
    sink.onInform = () => void request.write(Buffer.from('ping'));
    await sink.over;
    assert.equal(sink.switchedTo?.status, 101);
    assert.deepEqual(sink.switchedTo?.headers, ['sec-websocket-accept', 'x']);
    assert.equal(sink.body, 'earlypong');
    const ended = once(sockets[0] as Socket, 'end');
    request.end();
    await ended;
  });

  scene('giving up closes the connection, and the sink hears no more', () => undefined, async (connection, sockets) => {
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    const sink = takeResponse();
    const request = connection.request(requestOf(), true, sink);
    await once(sockets[0] as Socket, 'data');
    request.abort({ reason: 'cancelled', detail: 'test' });
    await closed;
    assert.equal(sink.aborted, undefined);
    assert.equal(connection.active, 0);
  });

  scene('giving up in the middle of a read is heard at once', (socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n'), async (connection) => {
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    const sink = takeResponse();
    const request = connection.request(requestOf(), true, sink);
    sink.onData = () => request.abort({ reason: 'cancelled', detail: 'enough' });
    await closed;
    assert.equal(sink.body, 'a');
    assert.equal(sink.trailers, undefined);
    assert.equal(sink.aborted, undefined);
  });

  scene('draining closes after the response', (socket) => socket.write(OK), async (connection) => {
    const closed = new Promise<void>((resolve) => (connection.onClose = resolve));
    const sink = takeResponse();
    connection.request(requestOf(), true, sink);
    connection.drain();
    await sink.over;
    assert.equal(sink.body, 'ok');
    await closed;
  });

  scene('a response on which nothing moves is given up', (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok'), async (connection) => {
    const sink = takeResponse();
    connection.request(requestOf(), true, sink);
    await sink.over;
    assert.equal(sink.aborted?.reason, 'timeout');
  }, { idleMs: 30 });

  scene('a response head that does not come whole in time is given up', (socket) => socket.write('HTTP/1.1 200 OK\r\nConte'), async (connection) => {
    const sink = takeResponse();
    connection.request(requestOf(), true, sink);
    await sink.over;
    assert.equal(sink.aborted?.reason, 'timeout');
  }, { headMs: 30 });
}
