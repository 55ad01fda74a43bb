// The door to undici: outbound HTTP/1.1 for proxies and health checks.
export { Agent, Client, type Dispatcher, errors as httpErrors, Pool, request } from 'undici';
