metadata description = 'One page that tells how the lanes are.'

@description('Name shown in the portal.')
param displayName string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Id of the workspace that the queries run in.')
param workspaceId string

@description('Id of the Service Bus namespace.')
param serviceBusId string

@description('Id of the Event Hubs namespace.')
param eventHubsId string

@description('Id of the vault.')
param vaultId string

@description('Id of the account with the claims.')
param claimsId string

var page = loadTextContent('../workbooks/operations.json')
var withBus = replace(page, '__SERVICE_BUS__', serviceBusId)
var withHubs = replace(withBus, '__EVENT_HUBS__', eventHubsId)
var withVault = replace(withHubs, '__VAULT__', vaultId)
var withClaims = replace(withVault, '__CLAIMS__', claimsId)

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'sluice-operations')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: workspaceId
    version: '1.0'
    serializedData: replace(withClaims, '__WORKSPACE__', workspaceId)
  }
}

output id string = workbook.id
