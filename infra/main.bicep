metadata description = 'Sluice in Azure. This file wires modules together and decides nothing that they could.'

targetScope = 'subscription'

import { Addresses, AppSettings, AppSizes, Cloud, CustomerKey, Edge, EventHubsSize, Gateway, LandingZone, Ownership, Retention } from 'types.bicep'
import { ServiceBusSize, Stage, StorageSku, Thresholds } from 'types.bicep'
import { accountGrants, greenGrants, packageGrants, telemetryGrants } from 'grants.bicep'

@description('Name of the environment, as azd calls it; part of every name.')
@minLength(2)
@maxLength(12)
param environmentName string

@description('Azure region.')
param location string

@description('How far the environment is from the users.')
param stage Stage

@description('Whose it is: tags of every resource.')
param ownership Ownership

@description('Tags of every resource, besides those that are always there.')
param extraTags object = {}

@description('The cloud, which decides names of hosts.')
param cloud Cloud = 'public'

@description('Everything is reached over the private network only. Service Bus has to be Premium.')
param isolated bool

@description('What holds data can not be deleted by mistake.')
param locked bool

@description('Azure itself refuses to open what is closed here: TLS, keys, public access. Who deploys needs Resource Policy Contributor or Owner.')
param guarded bool

@description('Address ranges of the private network: a /24 for it, a /26 for each subnet. They must not overlap with networks it is peered with.')
param addresses Addresses = {
  network: '10.60.0.0/24'
  functions: '10.60.0.0/26'
  endpoints: '10.60.0.64/26'
  gateway: '10.60.0.128/26'
}

@description('Network, DNS zones and workspace that are there already.')
param landingZone LandingZone = {
  workspaceId: ''
  functionsSubnetId: ''
  endpointsSubnetId: ''
  gatewaySubnetId: ''
  dnsZonesGroupId: ''
}

@description('What is at rest is encrypted under this key. Service Bus and Event Hubs have to be Premium.')
param customerKey CustomerKey = {
  keyUri: ''
  identityId: ''
}

@description('How many storage accounts share the state. Fixed at birth: a key is looked up where its bucket is.')
@minValue(1)
@maxValue(16)
param stateAccounts int

@description('How many buckets the state has. Fixed at birth.')
@minValue(1)
@maxValue(4096)
param stateBuckets int

@description('Redundancy of storage with data.')
param storageSku StorageSku

@description('Tier and size of Service Bus.')
param serviceBus ServiceBusSize

@description('Tier and size of Event Hubs.')
param eventHubs EventHubsSize

@description('Premium keeps keys in hardware.')
param vaultSku 'standard' | 'premium'

@description('Size of every app.')
param sizes AppSizes

@description('Retention that the app and the services agree on.')
param retention Retention

@description('The most telemetry that is taken in per day, in GB; -1: no limit.')
@minValue(-1)
param logCapGb int

@description('API Management in front of the API.')
param gateway Gateway

@description('Front Door with a web application firewall, before a gateway that then answers nobody else.')
param edge Edge = {
  enabled: false
  mode: 'Prevention'
  allowedNetworks: []
  requestsPerMinute: 6000
}

@description('When somebody is called.')
param thresholds Thresholds

@description('Who is written to when something is wrong.')
param alertEmails string[]

@description('Whether notifications go out over a custom topic of Event Grid.')
param notifications bool = false

@description('Where callers reach the API, with the path prefix of a proxy before it; empty: at the gateway, or at the app where there is none.')
param publicUrl string = ''

@description('Every app twice, for a rollout that moves the traffic in steps. The gateway has to be there, and not Consumption.')
param twoColours bool = false

@description('A new package comes instance by instance. Some regions know no such updates yet: there, false replaces all at once.')
param rollingUpdates bool = true

@description('Lanes whose messages are sealed from end to end, in a comma list; empty: none, the platform encrypts all the same.')
param encryptedLanes string = ''

@description('Seal claims too.')
param encryptClaims bool = false

@description('Issuer of the tokens that callers bring; empty: callers use API keys.')
param authIssuer string = ''

@description('Audience of those tokens.')
param authAudience string = ''

@description('The lake: an app of its own that writes what happened as files and tables. Its account is there without it.')
param lakehouse bool = false

@description('Further settings of all apps, name to value: addresses of partners, plans, what is off by default.')
param appSettings AppSettings = {}

@description('Object id of who deploys: may set the first secrets. Empty: nobody may, they are set by hand.')
param deployerPrincipalId string = ''

@description('Whether a user or a service principal deploys.')
param deployerPrincipalType 'User' | 'ServicePrincipal' = 'User'

// What the app says of itself, written by `dev.py declare`: functions, queues, hubs, tables, containers, grants.
var declared = loadJsonContent('declarations.json')

// What compiles and can't be deployed, or would not work: said before anything is made.
// That retentions cover each other, `dev.py doctor` says.
var poolless = !gateway.enabled || gateway.sku == 'Consumption'
var networkless = gateway.enabled && gateway.sku != 'StandardV2'
var zonal = contains(storageSku, 'ZRS')
var zoned = sizes.api.zones || sizes.high.zones || sizes.bulk.zones || sizes.ordered.zones || sizes.streams.zones || (lakehouse && sizes.lake.zones)
var standardBus = serviceBus.sku == 'Standard'
var broughtNetwork = !empty(landingZone.functionsSubnetId) || !empty(landingZone.endpointsSubnetId) || !empty(landingZone.gatewaySubnetId) || !empty(landingZone.dnsZonesGroupId)
var broughtIds = [
  { id: landingZone.workspaceId, part: '/workspaces/' }
  { id: landingZone.functionsSubnetId, part: '/subnets/' }
  { id: landingZone.endpointsSubnetId, part: '/subnets/' }
  { id: landingZone.gatewaySubnetId, part: '/subnets/' }
  { id: landingZone.dnsZonesGroupId, part: '/resourceGroups/' }
]
var areWhole = [for one in broughtIds: empty(one.id) || startsWith(one.id, '/subscriptions/') && contains(one.id, one.part)]
var wrongIds = contains(areWhole, false)
var ownSettings = union(settings, { SLUICE_PUBLIC_URL: '' })
var givesOwn = length(union(ownSettings, appSettings)) < length(ownSettings) + length(appSettings)
var mistakes = flatten([
  edge.enabled && !gateway.enabled ? ['edge needs the gateway behind it'] : []
  edge.enabled && cloud != 'public' ? ['edge is in the public cloud alone'] : []
  edge.enabled && !empty(gateway.allowedRanges) ? ['edge goes with allowedNetworks of its own: the gateway sees Front Door\'s addresses, so gateway.allowedRanges stays empty'] : []
  givesOwn ? ['appSettings has a name that the template sets itself: change the parameter that it follows from'] : []
  twoColours && poolless ? ['twoColours needs the gateway, and a tier with a pool of backends: BasicV2 or StandardV2'] : []
  isolated && standardBus ? ['isolated needs Service Bus Premium: Standard has no private endpoints'] : []
  isolated && networkless ? ['isolated needs the gateway tier StandardV2: Consumption and BasicV2 reach no private network, Premium needs another subnet and other rules'] : []
  gateway.sku == 'Consumption' && gateway.capacity != 0 || gateway.sku != 'Consumption' && gateway.capacity == 0 ? ['gateway.capacity is 0 for Consumption, and 1 or more for every other tier'] : []
  standardBus && serviceBus.capacity != 1 ? ['serviceBus.capacity is 1 for Standard'] : []
  standardBus && serviceBus.queueSizeMb > 5120 ? ['serviceBus.queueSizeMb is at most 5120 for Standard'] : []
  eventHubs.maximumCapacity != 0 && eventHubs.maximumCapacity < eventHubs.capacity ? ['eventHubs.maximumCapacity is less than its capacity'] : []
  eventHubs.sku == 'Standard' && eventHubs.partitions > 32 ? ['eventHubs.partitions is at most 32 for Standard'] : []
  eventHubs.sku == 'Standard' && eventHubs.retentionHours > 168 ? ['eventHubs.retentionHours is at most 168 for Standard'] : []
  stateBuckets < eventHubs.partitions ? ['stateBuckets is less than eventHubs.partitions: those beyond stay empty'] : []
  zoned && !zonal ? ['sizes with zones need a storageSku over zones: ZRS, GZRS or RAGZRS'] : []
  broughtNetwork && !isolated ? ['landingZone has subnets or DNS zones, which isolated alone uses'] : []
  empty(landingZone.functionsSubnetId) != empty(landingZone.endpointsSubnetId) ? ['landingZone has functionsSubnetId and endpointsSubnetId together, or neither'] : []
  gateway.enabled && isolated && empty(landingZone.gatewaySubnetId) != empty(landingZone.functionsSubnetId) ? ['landingZone has gatewaySubnetId where it has the other subnets and there is a gateway, and else not'] : []
  wrongIds ? ['landingZone has whole ids: of subnets /subscriptions/.../subnets/NAME, of the zones\' group /subscriptions/.../resourceGroups/NAME, of the workspace /subscriptions/.../workspaces/NAME'] : []
  empty(customerKey.keyUri) != empty(customerKey.identityId) ? ['customerKey has keyUri and identityId together, or neither'] : []
  !empty(customerKey.keyUri) && (!startsWith(customerKey.keyUri, 'https://') || length(split(customerKey.keyUri, '/')) != 5) ? ['customerKey.keyUri is https://VAULT/keys/NAME without a version'] : []
  !empty(customerKey.keyUri) && (standardBus || eventHubs.sku == 'Standard') ? ['customerKey needs Premium for Service Bus and Event Hubs: Standard knows the platform\'s keys alone'] : []
  empty(trim(ownership.application)) || empty(trim(ownership.businessUnit)) || empty(trim(ownership.costCenter)) ? ['ownership says application, businessUnit and costCenter: every resource is tagged with them'] : []
  thresholds.otherAgeSeconds < thresholds.highAgeSeconds ? ['thresholds.otherAgeSeconds is less than highAgeSeconds'] : []
  environmentName == toLower(environmentName) && !contains(environmentName, '_') && !contains(environmentName, '.') && !contains(environmentName, ' ') && !startsWith(environmentName, '-') && !endsWith(environmentName, '-') ? [] : ['environmentName is small letters and digits with single hyphens between them']
])

var token = uniqueString(subscription().subscriptionId, environmentName, location)
var short = take(token, 6)
var tags = union(extraTags, {
  Application: ownership.application
  BusinessUnit: ownership.businessUnit
  CostCenter: ownership.costCenter
  DataClass: ownership.dataClass
  Environment: stage
  'azd-env-name': environmentName
  workload: 'sluice'
  stage: stage
})

// Names, by the abbreviations of the Cloud Adoption Framework.
var names = {
  group: 'rg-sluice-${environmentName}'
  workspace: 'log-sluice-${environmentName}'
  component: 'appi-sluice-${environmentName}'
  serviceBus: 'sbns-sluice-${environmentName}-${short}'
  eventHubs: 'evhns-sluice-${environmentName}-${short}'
  vault: 'kv-sluice-${token}'
  network: 'vnet-sluice-${environmentName}'
  frontDoor: 'afd-sluice-${environmentName}'
  endpoint: 'sluice-${environmentName}-${short}'
  firewall: 'waf${token}'
  topic: 'evgt-sluice-${environmentName}-${short}'
  secretTopic: 'egst-sluice-${environmentName}'
  gateway: 'apim-sluice-${environmentName}-${short}'
  actionGroup: 'ag-sluice-${environmentName}'
}

var accounts = {
  claims: 'stclaims${token}'
  lake: 'stlake${token}'
  host: 'sthost${token}'
  deploy: 'stdeploy${token}'
}

var stateNames = [for i in range(0, stateAccounts): 'ststate${i}${token}']

var busSuffixes = {
  public: 'servicebus.windows.net'
  usgov: 'servicebus.usgovcloudapi.net'
  china: 'servicebus.chinacloudapi.cn'
}

// Host names of a gateway and of an app.
var apiSuffixes = {
  public: 'azure-api.net'
  usgov: 'azure-api.us'
  china: 'azure-api.cn'
}
var siteSuffixes = {
  public: 'azurewebsites.net'
  usgov: 'azurewebsites.us'
  china: 'chinacloudsites.cn'
}

var storageSuffix = environment().suffixes.storage
var stateUris = [for name in stateNames: 'https://${name}.table.${storageSuffix}']
var blueNames = [for one in apps: 'func-${environmentName}-${one.key}-${short}']
var greenNames = [for one in apps: 'func-${environmentName}-${one.key}-g${take(token, 5)}']
var blueContainers = [for key in declared.apps: 'app-${key}']
var greenContainers = [for key in declared.apps: 'app-${key}-green']
var packageContainers = twoColours ? concat(blueContainers, greenContainers) : blueContainers
var watchedAccounts = [for name in concat(stateNames, [accounts.claims]): {
  name: name
  id: '${providers}/Microsoft.Storage/storageAccounts/${name}'
}]
var undeliveredContainer = 'undelivered-events'
var wrappingKey = 'data-key-wrap'

// What is reached privately: the endpoint's name, what it leads to, the part of it, and the zones that tell its address.
var providers = '${group.id}/providers'
var busEndpoints = [
  { name: names.serviceBus, target: '${providers}/Microsoft.ServiceBus/namespaces/${names.serviceBus}', part: 'namespace', zones: ['messaging'] }
  { name: names.eventHubs, target: '${providers}/Microsoft.EventHub/namespaces/${names.eventHubs}', part: 'namespace', zones: ['messaging'] }
  { name: names.vault, target: '${providers}/Microsoft.KeyVault/vaults/${names.vault}', part: 'vault', zones: ['vault'] }
  { name: names.component, target: '${providers}/Microsoft.Insights/privateLinkScopes/ampls-${names.component}', part: 'azuremonitor', zones: ['monitor', 'oms', 'ods', 'agents', 'blob'] }
]
var topicEndpoints = notifications ? [
  { name: names.topic, target: '${providers}/Microsoft.EventGrid/topics/${names.topic}', part: 'topic', zones: ['events'] }
] : []
var accountParts = concat([
  { name: accounts.claims, part: 'blob' }
  { name: accounts.lake, part: 'blob' }
  { name: accounts.lake, part: 'dfs' }
  { name: accounts.host, part: 'blob' }
  { name: accounts.deploy, part: 'blob' }
], stateParts)
var stateParts = [for name in stateNames: { name: name, part: 'table' }]
var accountEndpoints = [for one in accountParts: {
  name: '${one.name}-${one.part}'
  target: '${providers}/Microsoft.Storage/storageAccounts/${one.name}'
  part: one.part
  zones: [one.part]
}]
var appEndpoints = [for name in concat(blueNames, twoColours ? greenNames : []): {
  name: name
  target: '${providers}/Microsoft.Web/sites/${name}'
  part: 'sites'
  zones: ['sites']
}]

// The API's app first: a rollout takes it last, so that a new kind of message finds its worker.
var apps = concat([
  { key: 'api', size: sizes.api, own: apiSettings }
  { key: 'high', size: sizes.high, own: highSettings }
  { key: 'bulk', size: sizes.bulk, own: noSettings }
  { key: 'ordered', size: sizes.ordered, own: noSettings }
  { key: 'streams', size: sizes.streams, own: noSettings }
], lakehouse ? [
  { key: 'lake', size: sizes.lake, own: lakeSettings }
] : [])

var connections = concat([
  'AzureWebJobsStorage'
  'ServiceBus'
  'EventHubs'
  'State'
  'Claims'
  'KeyVault'
], lakehouse ? ['Lake'] : [])

// Bytes of the largest body, the same at the gateway, in the host and in the app: the host reads a body of a known
// length whole, in four times its size, before the app can ask who sent it.
var bodyLimit = 8388608

// App settings of every app. The app checks at start that they fit together; `dev.py doctor` checks before that.
var settings = union(declared.entitySettings, {
  AzureWebJobsStorage__blobServiceUri: 'https://${accounts.host}.blob.${storageSuffix}'
  AzureWebJobsStorage__queueServiceUri: 'https://${accounts.host}.queue.${storageSuffix}'
  AzureWebJobsStorage__tableServiceUri: 'https://${accounts.host}.table.${storageSuffix}'
  ServiceBus__fullyQualifiedNamespace: '${names.serviceBus}.${busSuffixes[cloud]}'
  EventHubs__fullyQualifiedNamespace: '${names.eventHubs}.${busSuffixes[cloud]}'
  State__tableServiceUri: join(stateUris, ',')
  Claims__blobServiceUri: 'https://${accounts.claims}.blob.${storageSuffix}'
  KeyVault__vaultUri: 'https://${names.vault}${environment().suffixes.keyvaultDns}'
  PYTHON_ENABLE_INIT_INDEXING: '1'
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(bodyLimit)
  SLUICE_MAX_BODY_BYTES: string(bodyLimit)
  SLUICE_UPLOAD_LINKS: isolated ? 'false' : 'true'
  SLUICE_CLOUD: cloud
  SLUICE_TRACE_RATIO: '0.1'
  SLUICE_OPERATION_KEY: 'secret:operation-key'
  SLUICE_AUTH_ISSUER: authIssuer
  SLUICE_AUTH_AUDIENCE: authAudience
  #disable-next-line SEC003 // the name of a secret in the vault, not a secret
  SLUICE_API_KEYS: 'secret:api-keys'
  SLUICE_DATA_KEY: 'key:${wrappingKey}'
  SLUICE_TOKEN_KEY: 'secret:token-key'
  SLUICE_ENCRYPTED_LANES: encryptedLanes
  SLUICE_ENCRYPT_CLAIMS: string(encryptClaims)
  SLUICE_STATE_BUCKETS: string(stateBuckets)
  SLUICE_CLAIM_RETENTION_DAYS: string(retention.claimDays)
  SLUICE_INBOX_RETENTION_DAYS: string(retention.inboxDays)
  SLUICE_DEAD_LETTER_RETENTION_DAYS: string(retention.deadLetterDays)
  SLUICE_QUEUE_TTL_DAYS: string(retention.queueTtlDays)
}, lakehouse ? {
  Lake__blobServiceUri: 'https://${accounts.lake}.blob.${storageSuffix}'
  SLUICE_BRONZE_CAPTURE: string(eventHubs.capture)
} : {})

// Where callers reach the API: what Location says.
var publicSettings = {
  SLUICE_PUBLIC_URL: !empty(publicUrl) ? publicUrl : edge.enabled ? frontDoor!.outputs.uri : gateway.enabled ? 'https://${names.gateway}.${apiSuffixes[cloud]}' : 'https://${blueNames[0]}.${siteSuffixes[cloud]}'
}

// Where notifications go: which host name a topic gets, only the platform knows.
var notificationSettings = notifications ? { SLUICE_NOTIFICATION_URL: topic!.outputs.endpoint } : {}

// Smaller batches on the urgent lane: a message waits for fewer others, and scaling out begins at half the backlog.
var highSettings = {
  AzureFunctionsJobHost__extensions__serviceBus__maxMessageBatchSize: '32'
}

// While the limits' store is away each instance admits its share of a limit.
var apiSettings = {
  SLUICE_RATE_INSTANCES: string(sizes.api.maximumInstances)
}

// Few files of many events: a batch waits for its minute, since nobody waits for what is written here.
var lakeSettings = {
  AzureFunctionsJobHost__extensions__eventHubs__maxEventBatchSize: '1000'
  AzureFunctionsJobHost__extensions__eventHubs__minEventBatchSize: '500'
  AzureFunctionsJobHost__extensions__eventHubs__maxWaitTime: '00:01:00'
}

var noSettings = {}

// Guarantee 4: a claim outlives its message. The app's own sweep deletes a claim after its retention, and only if no
// dead letter or parked key refers to it; this rule comes a dead letter's life later, for what the sweep has missed.
var claimRules = [
  {
    name: 'claims-long-gone'
    type: 'Lifecycle'
    enabled: true
    definition: {
      filters: {
        blobTypes: ['blockBlob']
        prefixMatch: ['claims/']
      }
      actions: {
        baseBlob: {
          delete: {
            daysAfterModificationGreaterThan: retention.claimDays + retention.deadLetterDays
          }
        }
      }
    }
  }
  {
    name: 'earlier-versions'
    type: 'Lifecycle'
    enabled: true
    definition: {
      filters: {
        blobTypes: ['blockBlob']
      }
      actions: {
        version: {
          delete: {
            daysAfterCreationGreaterThan: retention.softDeleteDays
          }
        }
      }
    }
  }
]

// Bronze is read when something is worked out anew, silver and gold daily. Nothing goes to the archive tier: a Delta
// table with a file that takes hours to bring back can not be read at all.
var lakeRules = [
  {
    name: 'bronze-cools'
    type: 'Lifecycle'
    enabled: true
    definition: {
      filters: {
        blobTypes: ['blockBlob']
        prefixMatch: ['${declared.entitySettings.SLUICE_BRONZE_CONTAINER}/']
      }
      actions: {
        baseBlob: {
          tierToCool: {
            daysAfterModificationGreaterThan: 30
          }
          tierToCold: {
            daysAfterModificationGreaterThan: 120
          }
        }
      }
    }
  }
]

// Earlier packages are what a rollback deploys.
var packageRules = [
  {
    name: 'earlier-packages'
    type: 'Lifecycle'
    enabled: true
    definition: {
      filters: {
        blobTypes: ['blockBlob']
      }
      actions: {
        version: {
          delete: {
            daysAfterCreationGreaterThan: 90
          }
        }
      }
    }
  }
]

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: empty(mistakes) ? names.group : fail(join(mistakes, '; '))
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    workspaceName: names.workspace
    componentName: names.component
    location: location
    tags: tags
    retentionDays: retention.logDays
    dailyCapGb: logCapGb
    existingWorkspaceId: landingZone.workspaceId
    isolated: isolated
  }
}

var ownNetwork = isolated && empty(landingZone.functionsSubnetId)
var functionsSubnetId = ownNetwork ? network.outputs.functionsSubnetId : landingZone.functionsSubnetId
var endpointsSubnetId = ownNetwork ? network.outputs.endpointsSubnetId : landingZone.endpointsSubnetId
var gatewaySubnetId = ownNetwork ? network.outputs.gatewaySubnetId : landingZone.gatewaySubnetId

module network 'modules/network.bicep' = {
  scope: group
  name: 'network'
  params: {
    enabled: ownNetwork
    name: names.network
    location: location
    tags: tags
    addressPrefixes: [addresses.network]
    functionsPrefix: addresses.functions
    endpointsPrefix: addresses.endpoints
    gatewayPrefix: addresses.gateway
    workspaceId: monitoring.outputs.workspaceId
  }
}

module dns 'modules/private-dns.bicep' = {
  scope: group
  name: 'private-dns'
  params: {
    enabled: isolated && empty(landingZone.dnsZonesGroupId)
    cloud: cloud
    tags: tags
    networkId: ownNetwork ? network.outputs.id : split(landingZone.functionsSubnetId, '/subnets/')[0]
    zonesGroupId: landingZone.dnsZonesGroupId
  }
}

module identities 'modules/identity.bicep' = [for key in declared.apps: {
  scope: group
  name: 'identity-${key}'
  params: {
    name: 'id-sluice-${environmentName}-${key}'
    location: location
    tags: tags
  }
}]

module bus 'modules/servicebus.bicep' = {
  scope: group
  name: 'servicebus'
  params: {
    name: names.serviceBus
    location: location
    tags: tags
    customerKey: customerKey
    sku: serviceBus.sku
    capacity: serviceBus.capacity
    queueSizeMb: serviceBus.queueSizeMb
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

module hubs 'modules/eventhubs.bicep' = {
  scope: group
  name: 'eventhubs'
  params: {
    name: names.eventHubs
    location: location
    tags: tags
    customerKey: customerKey
    sku: eventHubs.sku
    capacity: eventHubs.capacity
    maximumCapacity: eventHubs.maximumCapacity
    partitions: eventHubs.partitions
    retentionHours: eventHubs.retentionHours
    capture: eventHubs.capture
    captureAccountId: lake.outputs.id
    captureAccountName: lake.outputs.name
    captureContainer: declared.entitySettings.SLUICE_BRONZE_CONTAINER
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

module state 'modules/storage.bicep' = [for (name, i) in stateNames: {
  scope: group
  name: 'storage-state-${i}'
  params: {
    name: name
    location: location
    tags: tags
    customerKey: customerKey
    purpose: 'state'
    sku: storageSku
    containers: []
    tables: i == 0 ? concat(declared.tables.everyAccount, declared.tables.firstAccount) : declared.tables.everyAccount
    hierarchical: false
    versioning: false
    softDeleteDays: retention.softDeleteDays
    lifecycleRules: []
    blobLogs: []
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}]

module claims 'modules/storage.bicep' = {
  scope: group
  name: 'storage-claims'
  params: {
    name: accounts.claims
    location: location
    tags: tags
    customerKey: customerKey
    purpose: 'claims'
    sku: storageSku
    containers: declared.containers
    tables: []
    hierarchical: false
    versioning: true
    softDeleteDays: retention.softDeleteDays
    lifecycleRules: claimRules
    blobLogs: ['StorageDelete']
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

module lake 'modules/storage.bicep' = {
  scope: group
  name: 'storage-lake'
  params: {
    name: accounts.lake
    location: location
    tags: tags
    customerKey: customerKey
    purpose: 'lake'
    sku: storageSku
    containers: declared.lakeContainers
    tables: []
    hierarchical: true
    versioning: false
    softDeleteDays: retention.softDeleteDays
    lifecycleRules: lakeRules
    blobLogs: ['StorageDelete']
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

module host 'modules/storage.bicep' = {
  scope: group
  name: 'storage-host'
  params: {
    name: accounts.host
    location: location
    tags: tags
    customerKey: customerKey
    purpose: 'hosts'
    sku: storageSku
    containers: []
    tables: []
    hierarchical: false
    versioning: false
    softDeleteDays: 7
    lifecycleRules: []
    blobLogs: []
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

module packages 'modules/storage.bicep' = {
  scope: group
  name: 'storage-deploy'
  params: {
    name: accounts.deploy
    location: location
    tags: tags
    customerKey: customerKey
    purpose: 'packages'
    sku: storageSku
    containers: concat(packageContainers, ['releases'])
    tables: []
    hierarchical: false
    versioning: true
    softDeleteDays: 30
    lifecycleRules: packageRules
    blobLogs: ['StorageWrite', 'StorageDelete']
    isolated: isolated
    locked: false
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/keyvault.bicep' = {
  scope: group
  name: 'keyvault'
  params: {
    name: names.vault
    location: location
    tags: tags
    sku: vaultSku
    wrappingKeyName: wrappingKey
    softDeleteDays: 90
    isolated: isolated
    locked: locked
    workspaceId: monitoring.outputs.workspaceId
  }
}

// The API reads the lake where its tables are answered for or shared, and signs links to files of shared ones.
var sharing = lakehouse && contains(appSettings, 'SLUICE_SHARES')
var datasets = lakehouse && contains(appSettings, 'SLUICE_DATASETS')
var lakeGrants = [for one in declared.grants.lakeContainers: union(one, { account: 'lake' })]
var lakeGrantsOfApi = [for one in declared.grants.lakeContainersOfApi: union(one, { account: 'lake' })]
var shareGrants = [for one in declared.grants.lakeAccount: union(one, { account: 'lake' })]
var claimGrants = [for one in declared.grants.containers: union(one, { account: 'claims' })]

// Links into the storage are for callers who can reach it.
var linkGrants = [for one in declared.grants.claimAccount: union(one, { account: 'claims' })]

// Which key of the vault it is, only a stage knows.
var keyGrants = [for one in declared.grants.keys: union(one, { key: wrappingKey })]

var principals = {
  api: identities[0].outputs.principalId
  high: identities[1].outputs.principalId
  bulk: identities[2].outputs.principalId
  ordered: identities[3].outputs.principalId
  streams: identities[4].outputs.principalId
  lake: identities[5].outputs.principalId
}

module roles 'modules/rbac.bicep' = {
  scope: group
  name: 'rbac'
  params: {
    principals: principals
    serviceBusName: bus.outputs.name
    eventHubsName: hubs.outputs.name
    accounts: {
      claims: claims.outputs.name
      lake: lake.outputs.name
      host: host.outputs.name
      deploy: packages.outputs.name
    }
    vaultName: vault.outputs.name
    componentName: monitoring.outputs.componentName
    queueGrants: declared.grants.queues
    topicGrants: declared.grants.topics
    hubGrants: declared.grants.hubs
    containerGrants: concat(claimGrants, lakeGrants, sharing || datasets ? lakeGrantsOfApi : [], packageGrants, twoColours ? greenGrants : [])
    accountGrants: concat(accountGrants, isolated ? [] : linkGrants, sharing ? shareGrants : [])
    vaultGrants: declared.grants.vault
    keyGrants: keyGrants
    telemetryGrants: telemetryGrants
  }
}

module tableRoles 'modules/rbac-tables.bicep' = [for (name, i) in stateNames: {
  scope: group
  name: 'rbac-tables-${i}'
  params: {
    principals: principals
    accountName: state[i].outputs.name
    tableGrants: i == 0 ? concat(declared.grants.tablesOfEveryAccount, declared.grants.tablesOfFirstAccount) : declared.grants.tablesOfEveryAccount
  }
}]

// One after the other: a subnet links one app at a time (409, ServiceAssociationLinkLease).
@batchSize(1)
module app 'modules/functionapp.bicep' = [for (one, i) in apps: {
  scope: group
  name: 'app-${one.key}'
  params: {
    name: blueNames[i]
    planName: 'asp-sluice-${environmentName}-${one.key}'
    location: location
    tags: tags
    serviceName: one.key
    identityId: identities[i].outputs.id
    clientId: identities[i].outputs.clientId
    packageContainerUri: '${packages.outputs.blobUri}${blueContainers[i]}'
    memoryMb: one.size.memoryMb
    maximumInstances: one.size.maximumInstances
    alwaysReady: one.size.alwaysReady
    httpConcurrency: one.size.httpConcurrency
    zoneRedundant: one.size.zones
    pythonVersion: '3.12'
    rollingUpdates: rollingUpdates
    functions: declared.functions
    app: one.key
    settings: union(appSettings, settings, publicSettings, notificationSettings)
    ownSettings: one.own
    connections: connections
    appInsightsConnectionString: monitoring.outputs.connectionString
    subnetId: functionsSubnetId
    isolated: isolated
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [
    roles
    tableRoles
  ]
}]

// The second colour: the same apps again, with the same identities, consumer groups and checkpoints, and packages of
// their own. Whichever rests is stopped by the rollout.
@batchSize(1)
module green 'modules/functionapp.bicep' = [for (one, i) in apps: if (twoColours) {
  scope: group
  name: 'app-${one.key}-green'
  params: {
    name: greenNames[i]
    planName: 'asp-sluice-${environmentName}-${one.key}-green'
    location: location
    tags: tags
    serviceName: '${one.key}-green'
    identityId: identities[i].outputs.id
    clientId: identities[i].outputs.clientId
    packageContainerUri: '${packages.outputs.blobUri}${greenContainers[i]}'
    memoryMb: one.size.memoryMb
    maximumInstances: one.size.maximumInstances
    alwaysReady: one.size.alwaysReady
    httpConcurrency: one.size.httpConcurrency
    zoneRedundant: one.size.zones
    pythonVersion: '3.12'
    rollingUpdates: rollingUpdates
    functions: declared.functions
    app: one.key
    settings: union(appSettings, settings, publicSettings, notificationSettings)
    ownSettings: one.own
    connections: connections
    appInsightsConnectionString: monitoring.outputs.connectionString
    subnetId: functionsSubnetId
    isolated: isolated
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [
    roles
    tableRoles
    app
  ]
}]

// One after the other: several that join one subnet at once are refused every third time.
module endpoints 'modules/private-endpoints.bicep' = if (isolated) {
  scope: group
  name: 'private-endpoints'
  params: {
    location: location
    tags: tags
    endpoints: concat(busEndpoints, topicEndpoints, accountEndpoints, appEndpoints)
    subnetId: endpointsSubnetId
    zoneIds: dns.outputs.ids
  }
  dependsOn: [
    monitoring
    bus
    hubs
    state
    claims
    lake
    host
    packages
    vault
    topic
    app
    green
  ]
}

module secretEvents 'modules/secret-events.bicep' = {
  scope: group
  name: 'secret-events'
  params: {
    name: names.secretTopic
    location: location
    tags: tags
    vaultName: vault.outputs.name
    serviceBusName: bus.outputs.name
    queueName: declared.entitySettings.SLUICE_ROTATION_QUEUE
    workspaceId: monitoring.outputs.workspaceId
    deadLetterAccountName: claims.outputs.name
    deadLetterContainer: undeliveredContainer
  }
}

module topic 'modules/eventgrid.bicep' = if (notifications) {
  scope: group
  name: 'eventgrid'
  params: {
    name: names.topic
    location: location
    tags: tags
    isolated: isolated
    principals: principals
    senderGrants: declared.grants.gridTopic
    workspaceId: monitoring.outputs.workspaceId
  }
}

// Last: what is refused from then on, this deployment has not done.
module policies 'modules/policies.bicep' = if (guarded) {
  scope: group
  name: 'policies'
  params: {
    isolated: isolated
  }
  dependsOn: [
    green
    app
    endpoints
  ]
}

module deployer 'modules/deployer.bicep' = if (!empty(deployerPrincipalId)) {
  scope: group
  name: 'deployer'
  params: {
    principalId: deployerPrincipalId
    principalType: deployerPrincipalType
    vaultName: vault.outputs.name
    accountName: packages.outputs.name
    containerName: 'releases'
  }
}

module frontDoor 'modules/frontdoor.bicep' = if (edge.enabled) {
  scope: group
  name: 'front-door'
  params: {
    name: names.frontDoor
    endpointName: names.endpoint
    firewallName: names.firewall
    tags: tags
    gatewayHost: '${names.gateway}.${apiSuffixes[cloud]}'
    mode: edge.mode
    allowedNetworks: edge.allowedNetworks
    requestsPerMinute: edge.requestsPerMinute
    workspaceId: monitoring.outputs.workspaceId
  }
}

module apim 'modules/apim.bicep' = if (gateway.enabled) {
  scope: group
  name: 'apim'
  params: {
    name: names.gateway
    location: location
    tags: tags
    sku: gateway.sku
    capacity: gateway.capacity
    publisherEmail: gateway.publisherEmail
    publisherName: gateway.publisherName
    blueUri: app[0].outputs.uri
    greenUri: twoColours ? green[0]!.outputs.uri : ''
    issuer: authIssuer
    audience: authAudience
    moreIssuers: json(appSettings.?SLUICE_AUTH_ISSUERS ?? '[]')
    callsPerMinute: gateway.callsPerMinute
    callsPerDay: gateway.callsPerDay
    bodyLimit: bodyLimit
    allowedRanges: gateway.allowedRanges
    behindFrontDoor: edge.enabled
    frontDoorId: edge.enabled ? frontDoor!.outputs.frontDoorId : ''
    subnetId: gatewaySubnetId
    componentName: monitoring.outputs.componentName
    workspaceId: monitoring.outputs.workspaceId
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    actionGroupName: names.actionGroup
    prefix: 'sluice-${environmentName}'
    location: location
    tags: tags
    emails: alertEmails
    workspaceId: monitoring.outputs.workspaceId
    serviceBusId: bus.outputs.id
    serviceBusPremium: serviceBus.sku == 'Premium'
    eventHubsId: hubs.outputs.id
    vaultId: vault.outputs.id
    accounts: watchedAccounts
    consumerGroups: length(hubs.outputs.consumerGroups)
    highAgeSeconds: thresholds.highAgeSeconds
    otherAgeSeconds: thresholds.otherAgeSeconds
    latencySeconds: thresholds.latencySeconds
    failuresPerFiveMinutes: thresholds.failuresPerFiveMinutes
    backlogMessages: thresholds.backlogMessages
    objectivePercent: thresholds.objectivePercent
    expectsTraffic: thresholds.expectsTraffic
  }
  dependsOn: [
    state
    claims
  ]
}

module workbook 'modules/workbook.bicep' = {
  scope: group
  name: 'workbook'
  params: {
    displayName: 'Sluice ${environmentName}'
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    serviceBusId: bus.outputs.id
    eventHubsId: hubs.outputs.id
    vaultId: vault.outputs.id
    claimsId: claims.outputs.id
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = names.group
output SLUICE_STAGE string = stage
output SLUICE_APP_NAMES array = blueNames
output SLUICE_API_URI string = edge.enabled ? frontDoor!.outputs.uri : gateway.enabled ? apim!.outputs.uri : app[0].outputs.uri
output SLUICE_PACKAGES_ACCOUNT string = accounts.deploy
output SLUICE_BACKEND_POOL string = twoColours ? apim!.outputs.poolId : ''
output SLUICE_COLOURS array = twoColours ? [
  {
    backend: 'sluice-blue'
    apps: blueNames
    uri: app[0].outputs.uri
  }
  {
    backend: 'sluice-green'
    apps: greenNames
    uri: green[0]!.outputs.uri
  }
] : []
output SLUICE_KEY_VAULT_NAME string = names.vault
output SLUICE_SERVICE_BUS_NAME string = names.serviceBus
output SLUICE_EVENT_HUBS_NAME string = names.eventHubs
output SLUICE_WORKSPACE_NAME string = empty(landingZone.workspaceId) ? names.workspace : last(split(landingZone.workspaceId, '/'))
