// One question of the standard gRPC health protocol, in plain HTTP/2, on a connection of its own.
import { connect, constants } from 'node:http2';
import { health } from '@isthmus/rpc';
import type { ProbeResult, ResolvedCheck } from './health-check.ts';

const SERVING = 1;
const MAX_ANSWER_BYTES = 4_096;

/** Passes when grpc.health.v1.Health/Check answers SERVING. Source: gRPC over HTTP/2, length-prefixed messages. */
export function askGrpcHealth(check: Pick<ResolvedCheck, 'host' | 'port' | 'grpcService'>, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const session = connect(`http://${check.host}:${check.port}`);
    const done = (result: ProbeResult): void => {
      session.destroy();
      resolve(result);
    };
    const fail = (error: Error): void => done({ ok: false, detail: error.message });
    session.on('error', fail);
    const stream = session.request(
      { ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', 'content-type': 'application/grpc', te: 'trailers', 'user-agent': 'isthmus-probe' },
      { signal },
    );
    let answer = Buffer.alloc(0);
    let status = '';
    const readStatus = (headers: Readonly<Record<string, unknown>>): void => {
      const value = headers['grpc-status'];
      if (typeof value === 'string') status = value;
    };
    stream.on('error', fail).on('response', readStatus).on('trailers', readStatus);
    stream.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length > MAX_ANSWER_BYTES) stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on('close', () => done(readAnswer(answer, status)));
    const message = Buffer.from(health.HealthCheckRequest.encode({ service: check.grpcService ?? '' }).finish());
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

function readAnswer(answer: Buffer, status: string): ProbeResult {
  if (status !== '0') return { ok: false, detail: `gRPC status ${status === '' ? 'none' : status}` };
  try {
    const serving = health.HealthCheckResponse.decode(answer.subarray(5)).status;
    return serving === SERVING ? { ok: true } : { ok: false, detail: `health status ${serving}` };
  } catch {
    return { ok: false, detail: 'the answer is no health status' };
  }
}
