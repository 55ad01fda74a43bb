// Whether a request was meant for another service than the one its connection was opened for.
import { parseSni, type ServiceName, serviceDnsName } from '@isthmus/model';

/** A mesh name of another service (reliability 50, 51); `isOwnName` judges SNI forms. Other names are the application's own. */
export function isMisdirected(authority: string, service: ServiceName, isOwnName: (name: string) => boolean): boolean {
  const host = authority.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (host.endsWith('.svc.clusterset.local')) {
    const own = serviceDnsName(service);
    return host !== own && !host.endsWith(`.${own}`);
  }
  return parseSni(host)?.kind === 'service' && !isOwnName(host);
}
