// Fuzz target: whatever an API server sends is read within bounds and maps to what the model takes, or is refused with reasons.
import { formatServiceName, parseExport, parseService } from '@isthmus/model';
import { declareExport, declareService } from './declare.ts';
import { endpointsOf } from './endpoints.ts';
import { conditionsOf, conditionsToWrite } from './export-conditions.ts';
import { keyOfUnread, parseKubeEndpointSlice, parseKubeService, parseKubeServiceExport, parseListPage, parseStatus, parseWatchEvent } from './objects.ts';
import { aKubeService, aPod, aServiceExport, aSlice, type ApiObject } from './scripted-api-server.ts';

const at = (object: ApiObject): ApiObject => ({ ...object, metadata: { ...object.metadata, resourceVersion: '7' } });
const condition = { type: 'Ready', status: 'True', reason: 'Exported', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' };
const seeds: readonly object[] = [
  at(aKubeService('payments')),
  at(aSlice('payments', [aPod('p-1', '10.1.0.5'), { addresses: ['10.1.0.6'], conditions: { ready: null } }])),
  { ...at(aServiceExport('payments', { annotations: { 'isthmus/consumers': 'west,north' } })), status: { conditions: [condition] } },
  { metadata: { resourceVersion: '9', continue: 'abc' }, items: [at(aKubeService('a'))] },
  { type: 'ADDED', object: at(aKubeService('a')) },
  { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } },
  { type: 'ERROR', object: { code: 410, reason: 'Expired', message: 'too old resource version' } },
];
const PAYMENTS = { namespace: 'shop', name: 'payments' };

export const target = {
  name: 'kubernetes-objects',
  seeds: seeds.map((value) => Buffer.from(JSON.stringify(value))),
  dictionary: ['"__proto__":', '"constructor":', 'null', '1e999', '-1', '[]', '{}', '[[[[', '"metadata":', '"ports":', '"127.0.0.1"', '"::1"', '"ExternalName"', '"isthmus/consumers":"', '\\u0000', '65536', '"resourceVersion":""'],
  run(input: Buffer): void {
    let json: unknown;
    try {
      json = JSON.parse(input.toString('utf8'));
    } catch {
      return;
    }
    keyOfUnread(json);
    if (parseStatus(json).message.length > 300) throw new Error('a reason is longer than a line');
    parseListPage(json);
    parseWatchEvent(json);
    const service = parseKubeService(json);
    if (service.ok) {
      const declared = declareService(service.value);
      if (declared.ok && !parseService(declared.value).ok) throw new Error(`the model does not take ${formatServiceName(service.value)}`);
    }
    const slice = parseKubeEndpointSlice(json);
    if (slice.ok) {
      for (const endpoint of endpointsOf(PAYMENTS, [slice.value, slice.value])) {
        if (/^(?:127\.|169\.254\.|0\.)/.test(endpoint.address) || endpoint.address === '::1') throw new Error(`${endpoint.address} would be dialled`);
        if (Object.values(endpoint.ports).some((port) => !(port > 0 && port < 65_536))) throw new Error('a port that is none');
      }
    }
    const exported = parseKubeServiceExport(json);
    if (exported.ok) {
      const declared = declareExport(exported.value);
      if (declared.ok && !parseExport(declared.value).ok) throw new Error('the model does not take the export');
      const wanted = conditionsOf({ exported: exported.value, service: undefined, isWrongType: false, isReadable: { ok: true }, imports: [], registeredCount: 0, endpointCount: 0 });
      const written = conditionsToWrite(exported.value, wanted, 0);
      if (written !== undefined && conditionsToWrite({ ...exported.value, conditions: written }, wanted, 1) !== undefined) throw new Error('what was written is not what was wanted');
    }
    if (Object.keys(Object.prototype).length > 0) throw new Error('a prototype was changed');
  },
};
