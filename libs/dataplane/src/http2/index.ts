// HTTP/2 on any connected socket: the two ends of a connection, and the words they refuse with.
export { openHttp2, type OpenHttp2Options } from './client.ts';
export { type Refusal, REFUSALS } from './protocol.ts';
export { serveHttp2, type ServeHttp2Options } from './server.ts';
