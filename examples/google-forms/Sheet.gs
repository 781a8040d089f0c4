// For a sheet that collects responses of a form. Beside it, post_() and the two values of Code.gs.
// Run once.
function installInSheet() {
  ScriptApp.newTrigger("sendRow").forSpreadsheet(SpreadsheetApp.getActive()).onFormSubmit().create();
}

function sendRow(e) {
  const sheet = e.range.getSheet();
  const answers = {};
  for (const title in e.namedValues) answers[title] = e.namedValues[title].join(", ");
  post_({
    form: { id: String(sheet.getSheetId()), title: sheet.getName() },
    // A row number alone would come back after a row is deleted.
    response: { id: [sheet.getParent().getId(), sheet.getSheetId(), e.range.getRow(), e.values[0]].join("/") },
    answers: answers,
  });
}
