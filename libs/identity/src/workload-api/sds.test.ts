import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { spiffeIds } from '@isthmus/model';
import { svidToPem } from '@isthmus/pki';
import { ChannelCredentials, type discoveryV3, envoyTls, sds, type ServiceError, status } from '@isthmus/rpc';
import { until } from '../testing.ts';
import { SECRET_TYPE } from './secrets.ts';
import { HERE, LEDGER, PAYMENTS, startTestWorkloadApi, type TestWorkloadApi } from './testing.ts';
import type { WorkloadApiOptions } from './workload-api.ts';

type Response = discoveryV3.DiscoveryResponse;

/** Envoy's side of one stream. */
class Proxy {
  readonly responses: Response[] = [];
  error: ServiceError | undefined;
  private readonly stream;
  private taken = 0;

  constructor(client: sds.SecretDiscoveryServiceClient) {
    this.stream = client.streamSecrets();
    this.stream.on('data', (response: Response) => this.responses.push(response));
    this.stream.on('error', (error: ServiceError) => (this.error = error));
  }

  ask(names: readonly string[], over: Partial<discoveryV3.DiscoveryRequest> = {}): void {
    this.stream.write({ versionInfo: '', node: { id: 'envoy-1', cluster: 'test' }, resourceNames: [...names], typeUrl: SECRET_TYPE, responseNonce: '', errorDetail: undefined, ...over });
  }

  async next(): Promise<Response> {
    await until(() => this.responses.length > this.taken || this.error !== undefined, 'an answer');
    if (this.error !== undefined) throw this.error;
    return this.responses[this.taken++] as Response;
  }

  async refused(): Promise<ServiceError> {
    await until(() => this.error !== undefined, 'a refusal');
    return this.error as ServiceError;
  }

  cancel(): void {
    this.stream.cancel();
  }
}

async function withSds(over: Partial<WorkloadApiOptions>, use: (api: TestWorkloadApi, proxy: () => Proxy, client: sds.SecretDiscoveryServiceClient) => Promise<void>): Promise<void> {
  const api = await startTestWorkloadApi(over);
  const client = new sds.SecretDiscoveryServiceClient(`unix:${api.socketPath}`, ChannelCredentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  const proxies: Proxy[] = [];
  try {
    await use(
      api,
      () => {
        const proxy = new Proxy(client);
        proxies.push(proxy);
        return proxy;
      },
      client,
    );
  } finally {
    for (const proxy of proxies) proxy.cancel();
    client.close();
    await api.close();
  }
}

const secretsOf = (response: Response): envoyTls.Secret[] => response.resources.map((r) => envoyTls.Secret.decode(r.value));
const textOf = (source: { specifier: { $case: string; value: unknown } | undefined } | undefined): string => String(source?.specifier?.value);

function certificateOf(response: Response): { readonly name: string; readonly cert: string; readonly key: string } {
  const [secret] = secretsOf(response);
  assert.ok(secret?.type?.$case === 'tlsCertificate');
  return { name: secret.name, cert: textOf(secret.type.value.certificateChain), key: textOf(secret.type.value.privateKey) };
}

/** Trust domains and their roots, as Envoy’s validator is told. */
function validatorOf(response: Response): Readonly<Record<string, readonly Buffer[]>> {
  const [secret] = secretsOf(response);
  assert.ok(secret?.type?.$case === 'validationContext');
  const { trustedCa, customValidatorConfig } = secret.type.value;
  assert.equal(trustedCa, undefined);
  assert.equal(customValidatorConfig?.name, 'envoy.tls.cert_validator.spiffe');
  const { trustDomains } = envoyTls.SPIFFECertValidatorConfig.decode(customValidatorConfig.typedConfig?.value ?? Buffer.alloc(0));
  const roots = (pem: string): Buffer[] => (pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n?/g) ?? []).map((one) => new X509Certificate(one).raw);
  return Object.fromEntries(trustDomains.map((t) => [t.name, roots(textOf(t.trustBundle))]));
}

const idOf = (api: TestWorkloadApi, service = PAYMENTS): string => spiffeIds.service(api.east.trustDomain, service);

test('a proxy gets its certificate as `default` and by its SPIFFE ID, under the name it asked for', async () => {
  await withSds({}, async (api, proxy) => {
    const svid = api.current(PAYMENTS);
    assert.ok(svid);
    for (const name of ['default', idOf(api)]) {
      const envoy = proxy();
      envoy.ask([name]);
      assert.deepEqual(certificateOf(await envoy.next()), { name, cert: svidToPem(svid).certPem, key: svidToPem(svid).keyPem });
    }
  });
});

test('ROOTCA is the proxy’s own trust domain, ALL is each with its own roots, and an ID without path is that one', async () => {
  await withSds({}, async (api, proxy) => {
    const root = api.east.root.cert;
    const wanted = { ROOTCA: { 'east.acme.example': [root] }, ALL: { 'east.acme.example': [root], 'west.acme.example': [root] }, 'spiffe://west.acme.example': { 'west.acme.example': [root] } };
    for (const [name, trustDomains] of Object.entries(wanted)) {
      const envoy = proxy();
      envoy.ask([name]);
      assert.deepEqual(validatorOf(await envoy.next()), trustDomains);
    }
  });
});

test('a trust domain without roots gets one that nobody can sign under, never no check at all', async () => {
  await withSds({}, async (api, proxy) => {
    const envoy = proxy();
    envoy.ask(['ROOTCA']);
    await envoy.next();
    api.bundles.update({ ...api.east.bundle, sequence: 3, x509Authorities: [] });
    const { 'east.acme.example': [nobody, ...more] = [] } = validatorOf(await envoy.next());
    assert.ok(nobody !== undefined && more.length === 0);
    const certificate = new X509Certificate(nobody);
    assert.match(certificate.subject, /nobody\.invalid/);
    assert.ok(Date.parse(certificate.validTo) < Date.now());
  });
});

test('a rotation is pushed once; an ACK is counted and answered by nothing', async () => {
  await withSds({}, async (api, proxy) => {
    const envoy = proxy();
    envoy.ask(['default']);
    const first = await envoy.next();
    envoy.ask(['default'], { versionInfo: first.versionInfo, responseNonce: first.nonce });
    await until(async () => /isthmus_sds_answers_total\{outcome="ack"\} 1/.test(await api.metrics.text()), 'the ACK was counted');
    const renewed = api.rotate(PAYMENTS);
    const second = await envoy.next();
    assert.notEqual(second.versionInfo, first.versionInfo);
    assert.notEqual(second.nonce, first.nonce);
    assert.equal(certificateOf(second).cert, svidToPem(renewed).certPem);
    assert.equal(envoy.responses.length, 2);
  });
});

test('a NACK is counted, and the refused secret is not sent again until it changes', async () => {
  await withSds({}, async (api, proxy) => {
    const envoy = proxy();
    envoy.ask(['default']);
    const first = await envoy.next();
    envoy.ask(['default'], { responseNonce: first.nonce, errorDetail: { code: 3, message: 'bad key\nforged line' } });
    await until(async () => /isthmus_sds_answers_total\{outcome="nack"\} 1/.test(await api.metrics.text()), 'the NACK was counted');
    assert.equal(envoy.responses.length, 1);
    api.rotate(PAYMENTS);
    await envoy.next();
  });
});

test('other names are answered on the same stream; an answer that was overtaken is left out of account', async () => {
  await withSds({}, async (api, proxy) => {
    const envoy = proxy();
    envoy.ask(['default']);
    const first = await envoy.next();
    api.rotate(PAYMENTS);
    const second = await envoy.next();
    envoy.ask(['ALL'], { responseNonce: first.nonce });
    envoy.ask(['ROOTCA', 'default'], { responseNonce: second.nonce });
    assert.deepEqual(secretsOf(await envoy.next()).map((s) => s.name), ['ROOTCA', 'default']);
    assert.equal(envoy.responses.length, 3);
  });
});

test('a certificate that is not issued yet comes when it is', async () => {
  await withSds({ workloads: [{ service: LEDGER, selectors: HERE }] }, async (api, proxy) => {
    const envoy = proxy();
    envoy.ask(['default', 'ROOTCA']);
    await until(() => api.api.open().length === 1, 'the stream is open');
    api.rotate(LEDGER);
    assert.deepEqual(secretsOf(await envoy.next()).map((s) => s.name), ['default', 'ROOTCA']);
  });
});

test('a certificate of another, a name that is none, and another kind of resource are refused', async () => {
  await withSds({}, async (api, proxy) => {
    const cases = [
      [[idOf(api, LEDGER)], {}, status.PERMISSION_DENIED],
      [['spiffe://west.acme.example/ns/shop/svc/payments'], {}, status.PERMISSION_DENIED],
      [['nothing'], {}, status.INVALID_ARGUMENT],
      [['spiffe://EAST/'], {}, status.INVALID_ARGUMENT],
      [['default'], { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' }, status.INVALID_ARGUMENT],
      [Array.from({ length: 129 }, (_, i) => `spiffe://td-${i}`), {}, status.INVALID_ARGUMENT],
    ] as const;
    for (const [names, over, code] of cases) {
      const envoy = proxy();
      envoy.ask(names, over);
      assert.equal((await envoy.refused()).code, code, names[0]);
    }
    await until(() => api.api.open().length === 0, 'no stream is left');
  });
});

test('a process that is no workload gets no secrets, and incremental discovery is not served', async () => {
  await withSds({ workloads: [{ service: PAYMENTS, selectors: { uid: 4_000_000 } }] }, async (_api, proxy, client) => {
    assert.equal((await proxy().refused()).code, status.PERMISSION_DENIED);
    const delta = client.deltaSecrets();
    const error = await new Promise<ServiceError>((resolve) => delta.on('error', resolve));
    assert.equal(error.code, status.UNIMPLEMENTED);
  });
});

test('secrets are also had by one call', async () => {
  await withSds({}, async (api, _proxy, client) => {
    const fetch = (names: string[]): Promise<Response> =>
      new Promise((resolve, reject) => {
        client.fetchSecrets({ versionInfo: '', node: undefined, resourceNames: names, typeUrl: '', responseNonce: '', errorDetail: undefined }, (error, response) => (error === null ? resolve(response) : reject(error)));
      });
    assert.equal(certificateOf(await fetch(['default'])).name, 'default');
    await assert.rejects(fetch([]), { code: status.INVALID_ARGUMENT });
    assert.deepEqual(api.api.open(), []);
  });
});
