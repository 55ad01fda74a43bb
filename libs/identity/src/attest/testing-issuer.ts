// A token issuer for tests: OpenID Connect discovery and keys over real HTTPS, tokens of any claims, and what it was asked.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportKeyPem, generateKey } from '@isthmus/pki';
import { signTestToken } from '@isthmus/pki/testing';

export type TestIssuer = {
  readonly url: string;
  /** PEM file with the CA of its server. */
  readonly caFile: string;
  /** Paths it was asked for, oldest first. */
  readonly asked: readonly string[];
  /** Forms that came to its token endpoint. */
  readonly forms: readonly URLSearchParams[];
  /** A token of these claims over good ones: subject `alice`, audience `isthmus`, valid for five minutes. */
  token(claims?: object, signer?: { readonly key: KeyObject; readonly kid: string }): string;
  /** Answers the device that asked last (RFC 8628): as this person, or with no. */
  sayYes(subject: string): void;
  sayNo(): void;
  /** Signs with a new key from now on; the old one is no longer among its keys. */
  changeKey(): void;
  close(): Promise<void>;
};

/** Starts it on a free port of loopback. Needs openssl for its certificate. */
export async function startTestIssuer(options: { readonly clientSecret?: string } = {}): Promise<TestIssuer> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-issuer-'));
  const [caFile, keyFile] = [join(dir, 'web.pem'), join(dir, 'web.key')];
  await writeFile(keyFile, exportKeyPem(generateKey()), { mode: 0o600 });
  execFileSync('openssl', ['req', '-x509', '-key', keyFile, '-out', caFile, '-subj', '/CN=issuer', '-days', '2', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const asked: string[] = [];
  const forms: URLSearchParams[] = [];
  let [key, number] = [newKey(), 1];
  let [device, polls]: ['pending' | 'no' | { readonly subject: string }, number] = ['pending', 0];
  const tokenAnswer = (form: URLSearchParams): readonly [number, object] => {
    const granted = (sub: string | null, more: object = {}) => [200, { access_token: token({ sub }), token_type: 'Bearer', expires_in: 300, ...more }] as const;
    switch (form.get('grant_type')) {
      case 'client_credentials':
        return form.get('client_secret') === options.clientSecret ? granted(form.get('client_id')) : [401, { error: 'invalid_client', error_description: 'unknown client' }];
      case 'refresh_token':
        return form.get('refresh_token') === 'refresh-1' ? granted('alice') : [400, { error: 'invalid_grant' }];
      default:
        polls += 1;
        if (device === 'no') return [400, { error: 'access_denied' }];
        return device === 'pending' || polls < 2 ? [400, { error: 'authorization_pending' }] : granted(device.subject, { refresh_token: 'refresh-1' });
    }
  };
  const token: TestIssuer['token'] = (claims = {}, signer = { key, kid: `key-${number}` }) => {
    const nowSeconds = Math.floor(Date.now() / 1_000);
    return signTestToken({ iss: url, sub: 'alice', aud: 'isthmus', iat: nowSeconds, exp: nowSeconds + 300, ...claims }, signer);
  };
  const server = createServer({ cert: await readFile(caFile), key: await readFile(keyFile) }, (request, response) => {
    asked.push(request.url ?? '');
    const answer = (status: number, body: object): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.url === '/jwks') {
      const { kty, crv, x, y } = key.export({ format: 'jwk' });
      return answer(200, { keys: [{ kty, crv, x, y, kid: `key-${number}`, alg: 'ES256' }] });
    }
    if (request.method !== 'POST') return answer(200, { issuer: url, jwks_uri: `${url}/jwks`, token_endpoint: `${url}/token`, device_authorization_endpoint: `${url}/device` });
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      forms.push(form);
      if (request.url === '/token') return answer(...tokenAnswer(form));
      [device, polls] = ['pending', 0];
      answer(200, { device_code: 'device-1', user_code: 'WDJB-MJHT', verification_uri: `${url}/device`, verification_uri_complete: `${url}/device?code=WDJB-MJHT`, expires_in: 60, interval: 0.05 });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  return {
    url,
    caFile,
    asked,
    forms,
    token,
    sayYes: (subject) => {
      device = { subject };
    },
    sayNo: () => {
      device = 'no';
    },
    changeKey: () => {
      [key, number] = [newKey(), number + 1];
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true, force: true });
    },
  };
}
