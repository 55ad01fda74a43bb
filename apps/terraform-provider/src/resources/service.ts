// `isthmus_service`: a service as an operator declares it, which workloads then stand behind.
import { RESOURCES } from '@isthmus/api';
import { parseService } from '@isthmus/model';
import { declaredResource } from './declared.ts';
import { resourceNamed } from './named.ts';

export const service = declaredResource({
  typeName: 'isthmus_service',
  description: 'A service: a name that workloads stand behind, and the ports callers use.',
  example: `resource "isthmus_service" "payments" {
  cluster   = "east"
  namespace = "shop"
  name      = "payments"
  ports = [
    { name = "http", port = 80, protocol = "http" },
  ]
  labels = { team = "money" }
}`,
  resource: resourceNamed(RESOURCES, 'service'),
  parse: parseService,
});
