metadata description = 'One event hub with its consumer groups.'

@description('Name of the namespace.')
param namespaceName string

@description('Name of the hub.')
param name string

@description('How many partitions; Standard can not change it later.')
param partitionCount int

@description('Names of the consumer groups; $Default is always there.')
param consumerGroups array

@description('How long events are kept, in hours.')
param retentionHours int

@description('Keep the events as files too.')
param capture bool

@description('Id of the storage account that Capture writes to.')
param captureAccountId string

@description('Container that Capture writes to.')
param captureContainer string

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: name
  properties: {
    partitionCount: partitionCount
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: retentionHours
    }
    captureDescription: capture ? {
      enabled: true
      encoding: 'Avro'
      intervalInSeconds: 300
      sizeLimitInBytes: 314572800
      skipEmptyArchives: true
      destination: {
        name: 'EventHubArchive.AzureBlockBlob'
        identity: {
          type: 'SystemAssigned'
        }
        properties: {
          archiveNameFormat: '{Namespace}/{EventHub}/{PartitionId}/{Year}/{Month}/{Day}/{Hour}/{Minute}/{Second}'
          blobContainer: captureContainer
          storageAccountResourceId: captureAccountId
        }
      }
    } : null
  }
}

resource group 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = [for one in consumerGroups: {
  parent: hub
  name: one
}]

output name string = hub.name
