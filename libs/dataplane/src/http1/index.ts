// The HTTP/1.1 codec's face.
export { type Http1ClientOptions, openHttp1 } from './client.ts';
export { type Http1ServerOptions, serveHttp1 } from './server.ts';
