// The package's test kit for tests outside it.
export { relayRequest, startPlainRelay, TestPool, withTransport } from './http1/testing.ts';
export { SMUGGLING_CASES, type SmugglingCase } from './http1/smuggling.corpus.ts';
export { openHttp1, serveHttp1 } from './http1/index.ts';
export { HTTP_LIMITS } from './http/exchange.ts';
